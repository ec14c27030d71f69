// Rules about config fields and file names that several loaders share.

import { shown } from "../errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../json.ts";
import type { Rule } from "./rule.ts";
import { type Subject, settingsOf } from "./subject.ts";

type Where = "separate" | "embedded";
const names = {
  separate: "quantize_config.json or config.json (quantization_config)",
  embedded: "config.json (quantization_config)",
} as const;

/** Every loader parses safetensors, index and config before anything else. */
export const readable: Rule = {
  id: "readable",
  kind: "defect",
  reason: "config.json, the shard index and all weight files have to be there and well-formed",
  violations: ({ problems }) => problems,
};

/** AutoGPTQ SUPPORTED_MODELS goes by model_type "qwen", vLLM's registry by architectures, transformers by auto_map. */
export const architecture: Rule = {
  id: "architecture",
  kind: "defect",
  reason: "config.json has to describe a Qwen v1 model",
  violations: ({ configProblem, problems }) =>
    configProblem === undefined || problems.length > 0 ? [] : [configProblem],
};

export function requiredFields(where: Where, fields: readonly string[], reason: string): Rule {
  return {
    id: "quantization-fields",
    kind: "defect",
    reason,
    violations: (subject) => {
      if (Object.keys(subject.config).length === 0) return []; // not readable
      const settings = settingsOf(subject, where);
      const absent = fields.filter((field) => (settings[field] ?? null) === null);
      return absent.map((field) => `${names[where]}: ${field} is missing`);
    },
  };
}

/** A field that may be absent, but not have another value than these. */
export function allowedValues(
  where: Where,
  field: string,
  allowed: readonly JsonValue[],
  rule: Pick<Rule, "id" | "kind" | "reason">,
): Rule {
  return {
    ...rule,
    violations: (subject) => {
      const value = settingsOf(subject, where)[field] ?? null;
      if (value === null || allowed.includes(value)) return [];
      return [`${field} is ${shown(value)}; expected ${allowed.map(shown).join(", ")}`];
    },
  };
}

const decisive: Readonly<Record<string, JsonValue>> = {
  bits: null,
  group_size: null,
  sym: true,
  desc_act: false,
  checkpoint_format: "gptq",
  quant_method: "gptq",
};

/** AutoGPTQ reads quantize_config.json first, transformers and vLLM config.json: one of them would read it wrongly. */
export const settingsAgree: Rule = {
  id: "settings-agree",
  kind: "defect",
  reason:
    "quantize_config.json and config.json have to say the same: loaders read one or the other",
  violations: ({ settings: { embedded, separate } }) => {
    if (embedded === undefined || separate === undefined) return [];
    return Object.entries(decisive).flatMap(([field, absent]) => {
      const [a, b] = [separate[field] ?? absent, embedded[field] ?? absent];
      if (a === b) return [];
      return [`${field} is ${shown(a)} in quantize_config.json but ${shown(b)} in config.json`];
    });
  },
};

/** safetensors' torch loaders check it: AutoGPTQ _base.py:553, transformers load_state_dict ("valid metadata"). */
export const formatMetadata: Rule = {
  id: "format-metadata",
  kind: "defect",
  reason: 'each safetensors file has to say "format": "pt" in its __metadata__',
  violations: ({ weightFiles }) =>
    [...weightFiles]
      .filter(
        ([file, metadata]) => file.endsWith(".safetensors") && metadata.get("format") !== "pt",
      )
      .map(([file, metadata]) => `${file}: format is ${shown(metadata.get("format") ?? null)}`),
};

/** @param names  see gptq.md 2.7: what the loader tries, each also with an index */
export function fileNames(names: (subject: Subject) => readonly string[]): Rule {
  return {
    id: "file-names",
    kind: "defect",
    reason: "the weights have to be under a name the loader tries",
    violations: (subject) => {
      const tried = names(subject).flatMap((name) => [name, `${name}.index.json`]);
      if (subject.weightFiles.size === 0 || tried.some((name) => subject.files.includes(name))) {
        return [];
      }
      return [
        `there is ${[...subject.weightFiles.keys()].join(", ")}; tried are ${tried.join(", ")}`,
      ];
    },
  };
}

/** transformers' get_checkpoint_shard_files reads index["metadata"] without asking. */
export const indexMetadata: Rule = {
  id: "index-metadata",
  kind: "defect",
  reason: "the shard index has to have a metadata object",
  violations: ({ index }) =>
    index === undefined || isJsonObject(index["metadata"])
      ? []
      : [`metadata is ${shown(index["metadata"] ?? null)}`],
};

/** What a user of this model copies by hand otherwise, see gptq.md 2.7. */
export function companions(files: readonly string[], id: string, reason: string): Rule {
  return {
    id,
    kind: "advice",
    reason,
    violations: (subject) =>
      files.filter((file) => !subject.files.includes(file)).map((file) => `${file} is not here`),
  };
}

export function modulesInBlock(settings: JsonObject): readonly string[] | undefined {
  const modules = settings["modules_in_block_to_quantize"];
  if (!Array.isArray(modules)) return undefined;
  return modules.flat().filter((name): name is string => typeof name === "string");
}
