// Completion scripts. What was typed is only ever compared, never evaluated, and no TAB starts the program.

import type { Completion, Flag, Value } from "./table.ts";

export const scripts: Readonly<Record<string, (commands: readonly Completion[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** Where nothing is offered, bash itself completes files; `compopt` stops it, where there is one (bash 4). */
function bashScript(commands: readonly Completion[]): string {
  const cases = commands.flatMap(({ name, flags, argument }) => {
    const takers = flags.filter(({ value }) => value !== undefined);
    return [
      ...takers.map(({ names, value }) => {
        const patterns = names.map((flag) => `"${name} ${flag}"`).join("|");
        return `    ${patterns}) ${bashValue(value)} ;;`;
      }),
      `    "${name} "*) if [[ $current == -* ]]; then words="${flags.flatMap(({ names }) => names).join(" ")}"; else ${bashValue(argument)}; fi ;;`,
    ];
  });
  return `_nibble_only() { words="$*"; compopt +o default +o bashdefault 2>/dev/null; }
_nibble() {
  local IFS=$' \\t\\n' current=\${COMP_WORDS[COMP_CWORD]} flag=\${COMP_WORDS[COMP_CWORD-1]} command= words= word
  # --flag=value comes as three words.
  if [[ $current == = ]]; then current=
  elif [[ $flag == = ]]; then flag=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ $word != -* ]]; then command=$word; break; fi
  done
  case "$command $flag" in
    " "*) words="${[...commands.map(({ name }) => name), "--help --version"].join(" ")}" ;;
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o bashdefault -o default -F _nibble nibble`;
}
function bashValue(value: Value | undefined): string {
  if (value === "file") return ":";
  return isWords(value) ? `_nibble_only ${value.join(" ")}` : "_nibble_only";
}

function zshScript(commands: readonly Completion[]): string {
  const cases = commands.map(({ name, flags, argument }) => {
    const rest = argument === undefined ? [] : [`*:${name}:${zshAction(argument)}`];
    const specs = [...flags.flatMap(zshFlag), ...rest].map(quoted);
    return `    ${name}) _arguments -s -S \\\n      ${specs.join(" \\\n      ")} ;;`;
  });
  const names = commands.map(({ name, about }) => quoted(`${name}:${about}`));
  return `#compdef nibble
_nibble() {
  if (( CURRENT == 2 )); then
    local -a commands=(
      ${names.join("\n      ")}
    )
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
${cases.join("\n")}
  esac
}
if [ "$funcstack[1]" = _nibble ]; then _nibble "$@"; else compdef _nibble nibble; fi`;
}

function zshFlag({ names, about, value, isRepeatable }: Flag): readonly string[] {
  const text = `[${about.replaceAll(/[[\]\\]/g, "\\$&")}]`;
  const action = value === undefined ? "" : `:value:${zshAction(value)}`;
  const prefix = isRepeatable ? "*" : `(${names.join(" ")})`;
  return names.map((name) => {
    const equals = value !== undefined && name.startsWith("--") ? "=" : "";
    return `${prefix}${name}${equals}${text}${action}`;
  });
}

function zshAction(value: Value): string {
  if (isWords(value)) return `(${value.join(" ")})`;
  return value === "file" ? "_files" : " ";
}

function fishScript(commands: readonly Completion[]): string {
  const complete = "complete -c nibble";
  const lines = commands.flatMap(({ name, about, flags, argument }) => {
    const here = `${complete} -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `${complete} -n __fish_use_subcommand -f -a ${name} -d ${fishQuoted(about)}`,
      ...(argument === undefined || argument === "file"
        ? []
        : [`${here} -a '${argument.toString().replaceAll(",", " ")}'`]),
      ...flags.map((flag) => {
        const names = flag.names.map((one) => one.replace(/^--/, "-l ").replace(/^-(?!l )/, "-s "));
        return `${here} ${names.join(" ")}${fishValue(flag.value)} -d ${fishQuoted(flag.about)}`;
      }),
      ...(argument === "file" ? [`${here} -F`] : []),
    ];
  });
  return [`${complete} -f`, ...lines].join("\n");
}

function fishValue(value: Value | undefined): string {
  if (value === undefined) return "";
  if (isWords(value)) return ` -x -a '${value.join(" ")}'`;
  return value === "file" ? " -r -F" : " -x";
}

function isWords(value: Value | undefined): value is readonly string[] {
  return Array.isArray(value);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
}
