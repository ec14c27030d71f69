import { extname } from "node:path";
import {
  type CalibrationSource,
  readDocuments,
  readSegmentsFile,
  type Segments,
  sampleSources,
} from "../calibration/index.ts";
import type { Device } from "../kernels/index.ts";
import { type Model, openModel } from "../runtime/index.ts";
import { type DataFlags, type DataPath, parseDataPath } from "./calibration-flags.ts";
import { InputError, UsageError } from "./errors.ts";
import { openTokenizer } from "./model-files.ts";
import { plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";

export type SegmentRequest = DataFlags & { readonly model: string };

const defaultLengthLimit = 2048;

/** Data cut into segments for the model, or segments as they stand in a .safetensors file; none without data. */
export async function loadSegments(request: SegmentRequest, device: Device): Promise<Segments> {
  const paths = (request.data ?? []).map(parseDataPath);
  const [first] = paths;
  if (first === undefined) {
    return { ids: [], tokens: 0, counted: 0, documentsUsed: 0, sources: [] };
  }
  using model = openModel(request.model, device);
  const readyMade = paths.find(({ path }) => extname(path) === ".safetensors");
  if (readyMade === undefined) return await cutSegments(paths, request, model);
  if (paths.length > 1) {
    throw new UsageError(`--data ${readyMade.path}: ready-made segments go with no other data`);
  }
  if (request.tokens !== "all") {
    throw new UsageError(
      `--tokens ${request.tokens}: ${readyMade.path} has ready-made segments, which say themselves which tokens count`,
    );
  }
  if (request.allowedSpecial !== "all") {
    throw new UsageError(`--allowed-special: ${readyMade.path} has ready-made segments, no text`);
  }
  return readyMadeSegments(readyMade.path, model);
}

/** What to tell a user before work begins. */
export function noteSegments(segments: Segments, output: Output): void {
  const { ids, tokens, counted, note } = segments;
  if (note !== undefined) output.note(`note: ${note}`);
  if (ids.length === 0) return;
  const some = counted < tokens ? `, of which ${plural(counted, "token")} count` : "";
  output.note(
    `calibrating on ${plural(ids.length, "segment")} of ${plural(tokens, "token")}${some}`,
  );
}

async function cutSegments(
  paths: readonly DataPath[],
  request: SegmentRequest,
  model: Model,
): Promise<Segments> {
  const { samples: count, seed, tokens: scope, allowedSpecial } = request;
  const length = segmentLength(request, model);
  const sources: CalibrationSource[] = [];
  const notes: string[] = [];
  for (const { path, weight } of paths) {
    const { documents, note } = await readDocuments(path);
    sources.push({ name: path, documents, weight });
    if (note !== undefined) notes.push(note);
  }
  using tokenizer = openTokenizer(model);
  const options = { count, length, seed, scope, allowedSpecial };
  const segments = sampleSources(sources, tokenizer, options);
  if (segments.note !== undefined) notes.push(segments.note);
  return notes.length === 0 ? segments : { ...segments, note: notes.join("; ") };
}

function readyMadeSegments(path: string, model: Model): Segments {
  const segments = readSegmentsFile(path);
  const { maxLength, vocabulary } = model.shape;
  for (const [i, ids] of segments.ids.entries()) {
    checkLength(ids.length, maxLength, `${path}: segment ${i}`);
    const unknown = ids.find((id) => id >= vocabulary);
    if (unknown === undefined) continue;
    throw new InputError(
      `${path}: segment ${i} has token id ${unknown}, the model's vocabulary has ${vocabulary}; were these made for another model?`,
    );
  }
  return segments;
}

/**
 * Tokens per segment: as asked, or what the model was trained on, at most 2048.
 *
 * @throws UsageError for more than the model takes
 */
export function segmentLength(request: Pick<DataFlags, "length">, { shape }: Model): number {
  const length = request.length ?? Math.min(defaultLengthLimit, shape.trainedLength);
  checkLength(length, shape.maxLength, "--length");
  return length;
}

function checkLength(length: number, maxLength: number, what: string): void {
  if (length <= maxLength) return;
  throw new UsageError(`${what} of ${length} tokens: the model takes at most ${maxLength}`);
}
