import type { PhaseSeconds } from "./phases.ts";
import type { CopiedFiles } from "./publish.ts";
import type { Recipe } from "./recipe.ts";

/** What happened to one linear. */
export type LinearReport = {
  readonly name: string;
  readonly method: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly bits: Recipe["bits"];
  /** -1 for all inputs of an output */
  readonly groupSize: number;
  /** Calibration tokens behind the Hessian. */
  readonly tokens: number;
  /** Squared output error per calibration token: tr(ΔHΔᵀ), H = Σ xxᵀ / tokens; undefined without tokens. */
  readonly loss: number | undefined;
  /** Squared output error over squared output on the calibration tokens. */
  readonly relativeError: number | undefined;
  /** The damping that worked; 0 where none was needed. */
  readonly damping: number;
  /** Inputs that no calibration token reached; their weights became 0. */
  readonly deadInputs: number;
  readonly seconds: number;
  /** Why another method or damping than the recipe's was used. */
  readonly fallback: string | undefined;
};

/**
 * What a quantization run did; written beside the checkpoint as report.json, its linears also as report.arrow, and for people
 * as report.md.
 */
export type QuantizationReport = {
  readonly nibble: string;
  /** The command line that made it. */
  readonly command?: string;
  readonly source: string;
  /** The LoRA adapter that was merged into the source's weights. */
  readonly adapter?: string;
  /** The file of Hessians that was used in the place of calibration data. */
  readonly statistics?: string;
  /** What computed, where it was not the processor; with NVIDIA's libraries that it used. */
  readonly gpu?: string;
  readonly recipe: Recipe;
  readonly calibration: {
    readonly segments: number;
    readonly tokens: number;
    /** Of these, how many the Hessians are made of. */
    readonly counted: number;
  };
  readonly linears: readonly LinearReport[];
  /** Tensors of the source that the model makes no use of, left out. */
  readonly unused: readonly string[];
  /** Values of other tensors that 16-bit storage could not hold. */
  readonly conversions: readonly ConversionReport[];
  /** Bits of packed weights, scales and zeros per weight of the quantized linears. */
  readonly bitsPerWeight: number;
  /** Bytes of all tensors of the checkpoint. */
  readonly tensorBytes: number;
  /** The most bytes of hidden states that lay on the disk for want of memory. */
  readonly spilledBytes: number;
  readonly phases: PhaseSeconds;
  readonly seconds: number;
  readonly files: CopiedFiles;
};

/** A tensor that lost values on conversion. */
export type ConversionReport = {
  readonly name: string;
  readonly overflowed: number;
  readonly flushed: number;
};
