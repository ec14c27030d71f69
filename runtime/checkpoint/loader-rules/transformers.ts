// transformers with GPTQModel (transformers/quantizers/quantizer_gptq.py, gptqmodel/models/loader.py and
// quantization/config.py), which replaced AutoGPTQ there.

import type { Loader, Rule } from "./rule.ts";
import {
  allowedValues,
  architecture,
  companions,
  fileNames,
  formatMetadata,
  indexMetadata,
  modulesInBlock,
  readable,
  requiredFields,
  settingsAgree,
} from "./settings-rules.ts";
import { settingsOf } from "./subject.ts";
import {
  completeTensors,
  divisibility,
  groupIndex,
  tensorDtypes,
  tensorShapes,
  zeroBiases,
  zerosMatchFormat,
} from "./tensor-rules.ts";

/** loader.py near 1662: a v1 file with sym = false is refused, as its zeros may have wrapped around. */
const asymmetricV2: Rule = {
  id: "asymmetric-v2",
  kind: "limit",
  reason: 'an asymmetric model has to be stored as checkpoint_format "gptq_v2"',
  violations: (subject) => {
    const { sym, checkpoint_format: format } = settingsOf(subject, "embedded");
    return sym === false && format !== "gptq_v2" ? ["sym is false with format gptq"] : [];
  },
};

/** optimum converts every linear of a block unless modules_in_block_to_quantize lists those to convert. */
const declaredModules: Rule = {
  id: "modules-declared",
  kind: "defect",
  reason:
    "a linear that stayed float has to be left out of modules_in_block_to_quantize, and only such a one",
  violations: (subject) => {
    const declared = modulesInBlock(settingsOf(subject, "embedded"));
    return subject.linears.flatMap(({ name, part }) => {
      const isFloat = subject.tensors.has(`${name}.weight`);
      const isPacked = subject.tensors.has(`${name}.qweight`);
      const isDeclared = declared?.includes(part) ?? true;
      if (isFloat && isDeclared) return [`${name} is float but declared as quantized`];
      return isPacked && !isDeclared ? [`${name} is quantized but not declared`] : [];
    });
  },
};

export const transformers: Loader = {
  name: "transformers",
  title: "transformers with GPTQModel",
  rules: [
    readable,
    architecture,
    // AutoHfQuantizer.from_dict goes by quant_method; GPTQConfig has no default for bits.
    requiredFields(
      "embedded",
      ["quant_method", "bits", "group_size"],
      "config.json has to embed quantization_config with quant_method, bits and group_size",
    ),
    settingsAgree,
    allowedValues("embedded", "quant_method", ["gptq"], {
      id: "quant-method",
      kind: "defect",
      reason: 'quant_method has to be "gptq"',
    }),
    // GPTQModel quantization/config.py
    allowedValues("embedded", "bits", [2, 3, 4, 5, 6, 7, 8], {
      id: "bits",
      kind: "limit",
      reason: "bits have to be 2 to 8",
    }),
    allowedValues("embedded", "group_size", [-1, 16, 32, 64, 128, 256, 512, 1024], {
      id: "group-size",
      kind: "limit",
      reason: "group_size has to be -1 or a power of two from 16 to 1024",
    }),
    allowedValues("embedded", "checkpoint_format", ["gptq", "gptq_v2"], {
      id: "checkpoint-format",
      kind: "limit",
      reason: 'checkpoint_format has to be "gptq" or "gptq_v2"',
    }),
    asymmetricV2,
    fileNames(() => ["model.safetensors", "pytorch_model.bin"]),
    indexMetadata,
    formatMetadata,
    completeTensors,
    declaredModules,
    tensorShapes,
    tensorDtypes,
    divisibility,
    groupIndex,
    zerosMatchFormat,
    zeroBiases,
    companions(
      ["configuration_qwen.py", "modeling_qwen.py"],
      "remote-code",
      "the model's code has to lie beside the weights (trust_remote_code); copy it from the original model",
    ),
    companions(
      ["qwen.tiktoken", "tokenizer_config.json"],
      "tokenizer",
      "the tokenizer has to lie beside the weights",
    ),
  ],
};
