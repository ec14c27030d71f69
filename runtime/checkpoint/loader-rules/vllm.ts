// vLLM up to 0.23, the last to run Qwen v1 (PR #45131): layers/quantization/auto_gptq.py and gptq_marlin.py, the Marlin
// and MPLinear kernels, models/qwen.py.

import type { Loader, Rule, RuleKind } from "./rule.ts";
import {
  allowedValues,
  architecture,
  companions,
  readable,
  requiredFields,
  settingsAgree,
} from "./settings-rules.ts";
import { type Subject, settingsOf } from "./subject.ts";
import { marlinProblem } from "./tensor-parallel.ts";
import {
  completeTensors,
  divisibility,
  groupIndex,
  packingOf,
  tensorDtypes,
  tensorShapes,
  zeroBiases,
} from "./tensor-rules.ts";

/** w2 and w1 become one gate_up_proj (models/qwen.py), and fused shards share one scheme (gptq_utils.py). */
const fusedScheme: Rule = {
  id: "fused-scheme",
  kind: "defect",
  reason: "mlp.w1 and mlp.w2 are fused, so both or neither have to be quantized",
  violations: ({ linears, tensors }) =>
    linears.flatMap(({ name, part }) => {
      if (part !== "mlp.w1") return [];
      const other = name.replace(/w1$/, "w2");
      const isMixed = tensors.has(`${name}.qweight`) !== tensors.has(`${other}.qweight`);
      return isMixed ? [`only one of ${name} and ${other} is quantized`] : [];
    }),
};

/** What `dynamic` says is looked up under the name of the fused module (get_dynamic_override in gptq_utils.py). */
const fusedSettings: Rule = {
  id: "fused-settings",
  kind: "limit",
  reason:
    "mlp.w1 and mlp.w2 are fused to mlp.gate_up_proj, so dynamic has to say the same of all three",
  violations: (subject) =>
    subject.linears.flatMap((linear) => {
      if (subject.dynamic === undefined || linear.part !== "mlp.w1") return [];
      const named = (part: string) => ({ ...linear, name: linear.name.replace(/w1$/, part) });
      const [w1, ...others] = ["w1", "w2", "gate_up_proj"].map((part) =>
        JSON.stringify(packingOf(subject, named(part))),
      );
      return others.every((other) => other === w1) ? [] : [`${linear.name} is set apart`];
    }),
};

/** marlin_utils.py: 64 outputs and 128 inputs per tile; later versions pad, but not where g_idx permutes inputs. */
function marlinTiles(kind: RuleKind, applies: (subject: Subject) => boolean, reason: string): Rule {
  return {
    id: "marlin-tiles",
    kind,
    reason,
    violations: (subject) => {
      const problem = applies(subject) ? marlinProblem(subject, 1) : undefined;
      return problem === undefined ? [] : [problem];
    },
  };
}

const hasActOrder = (subject: Subject) => settingsOf(subject, "embedded")["desc_act"] === true;

/** default_loader.py reads every *.safetensors of the directory unless an index says which. */
const strayWeights: Rule = {
  id: "stray-weights",
  kind: "defect",
  reason: "without an index every *.safetensors file is read, so there may be no others",
  violations: ({ files, weightFiles, index }) => {
    if (index !== undefined || weightFiles.size === 0) return [];
    return files
      .filter((name) => name.endsWith(".safetensors") && !weightFiles.has(name))
      .map((name) => `${name} is not part of the model`);
  },
};

export const vllm: Loader = {
  name: "vllm",
  title: "vLLM up to 0.23",
  rules: [
    readable,
    architecture,
    // from_config: get_from_keys raises for each of these
    requiredFields(
      "embedded",
      ["quant_method", "bits", "group_size", "desc_act", "sym"],
      "config.json has to embed quantization_config with quant_method, bits, group_size, desc_act and sym",
    ),
    settingsAgree,
    allowedValues("embedded", "quant_method", ["gptq"], {
      id: "quant-method",
      kind: "defect",
      reason: 'quant_method has to be "gptq"',
    }),
    // TYPE_MAP has (4, sym) and (8, sym) only since PR #38288
    allowedValues("embedded", "bits", [4, 8], {
      id: "bits",
      kind: "limit",
      reason: "bits have to be 4 or 8",
    }),
    allowedValues("embedded", "sym", [true], {
      id: "symmetric",
      kind: "limit",
      reason: "asymmetric models are not supported",
    }),
    // MARLIN_SUPPORTED_GROUP_SIZES
    allowedValues("embedded", "group_size", [-1, 32, 64, 128], {
      id: "group-size",
      kind: "limit",
      reason: "group_size has to be -1, 32, 64 or 128",
    }),
    strayWeights,
    completeTensors,
    fusedScheme,
    fusedSettings,
    tensorShapes,
    tensorDtypes,
    divisibility,
    groupIndex,
    zeroBiases,
    marlinTiles(
      "limit",
      hasActOrder,
      "with desc_act, outputs have to be multiples of 64 and inputs of 128",
    ),
    marlinTiles(
      "advice",
      (subject) => !hasActOrder(subject),
      "versions that do not pad want outputs in multiples of 64 and inputs of 128",
    ),
    companions(
      ["configuration_qwen.py", "tokenization_qwen.py"],
      "remote-code",
      "the model's code has to lie beside the weights (--trust-remote-code); copy it from the original model",
    ),
    companions(
      ["qwen.tiktoken", "tokenizer_config.json"],
      "tokenizer",
      "the tokenizer has to lie beside the weights",
    ),
  ],
};
