import { extname } from "node:path";
import {
  readDocuments,
  readSegmentsFile,
  type Segments,
  sampleSegments,
} from "../calibration/index.ts";
import type { Device } from "../kernels/index.ts";
import { openModel } from "../runtime/index.ts";
import { UsageError } from "./errors.ts";
import { openTokenizer } from "./model-files.ts";

export type SegmentRequest = {
  readonly model: string;
  readonly data: string;
  readonly samples: number;
  /** Tokens per segment; by default what the model was trained on, at most 2048. */
  readonly length: number | undefined;
  readonly seed: number;
};

const defaultLengthLimit = 2048;

/** Text cut into segments for the model, or segments as they stand in a .safetensors file. */
export function loadSegments(request: SegmentRequest, device: Device): Segments {
  using model = openModel(request.model, device);
  const { trainedLength, maxLength } = model.shape;
  if (extname(request.data) === ".safetensors") {
    const segments = readSegmentsFile(request.data);
    const longest = Math.max(...segments.ids.map((ids) => ids.length));
    checkLength(longest, maxLength, `${request.data}: segments`);
    return segments;
  }
  const length = request.length ?? Math.min(defaultLengthLimit, trainedLength);
  checkLength(length, maxLength, "--length");
  using tokenizer = openTokenizer(model);
  const { samples: count, seed } = request;
  return sampleSegments(readDocuments(request.data), tokenizer, { count, length, seed });
}

function checkLength(length: number, maxLength: number, what: string): void {
  if (length <= maxLength) return;
  throw new UsageError(`${what} of ${length} tokens: the model takes at most ${maxLength}`);
}
