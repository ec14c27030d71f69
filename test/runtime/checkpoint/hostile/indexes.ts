// Shard indexes that must be refused. The directory they lie in holds model-00001-of-00001.safetensors with tensor "a".

import type { CheckpointErrorCode } from "../../../../runtime/checkpoint/errors.ts";

export type HostileIndex = {
  readonly title: string;
  readonly json: string;
  readonly code: CheckpointErrorCode;
};

const shardName = "model-00001-of-00001.safetensors";

function mapping(shard: unknown, name = "a"): string {
  return JSON.stringify({ weight_map: { [name]: shard } });
}

export const hostileIndexes: readonly HostileIndex[] = [
  { title: "is not JSON", json: "{", code: "CHECKPOINT_HEADER" },
  { title: "has no weight_map", json: '{"metadata":{}}', code: "CHECKPOINT_HEADER" },
  { title: "has an empty weight_map", json: '{"weight_map":{}}', code: "CHECKPOINT_HEADER" },
  { title: "has a list as weight_map", json: '{"weight_map":["a"]}', code: "CHECKPOINT_HEADER" },
  {
    title: "maps one tensor twice",
    json: `{"weight_map":{"a":"${shardName}","a":"other.safetensors"}}`,
    code: "CHECKPOINT_HEADER",
  },
  ...[
    "../outside.safetensors",
    "/etc/outside.safetensors",
    "sub/outside.safetensors",
    "sub\\outside.safetensors",
    "..",
    "",
    ".safetensors\0",
    "passwd",
    7,
    null,
  ].map(
    (shard): HostileIndex => ({
      title: `maps a tensor to ${JSON.stringify(shard)}`,
      json: mapping(shard),
      code: "CHECKPOINT_HEADER",
    }),
  ),
  {
    title: "names a shard that does not exist",
    json: mapping("model-00002-of-00002.safetensors"),
    code: "CHECKPOINT_NOT_FOUND",
  },
  {
    title: "maps a tensor to a shard that lacks it",
    json: mapping(shardName, "b"),
    code: "CHECKPOINT_HEADER",
  },
];
