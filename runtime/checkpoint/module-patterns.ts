// Expressions over module names that come from a stranger's file. What is let through means the same in Python and
// here, and cannot take long: a name is some thirty characters, and the ways to match it are few without repeated groups.

export type PatternLimits = { readonly repetitions: number; readonly groups: number };

const maxLength = 256;
const allowed = /^(?:[\w.|()[\]^$*+?:-]|\\[.dw])+$/;
const refused = /\(\?(?!:)|\)[*+?]/;

/** Whether an expression may be compiled and run; it may still be malformed. */
export function isSafePattern(pattern: string, limits: PatternLimits): boolean {
  const plain = pattern.replaceAll("(?:", "(");
  const count = (characters: RegExp) => plain.match(characters)?.length ?? 0;
  return (
    pattern.length <= maxLength &&
    count(/[*+?]/g) <= limits.repetitions &&
    count(/\(/g) <= limits.groups &&
    allowed.test(pattern) &&
    !refused.test(pattern)
  );
}
