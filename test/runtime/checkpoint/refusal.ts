import { CheckpointError } from "../../../runtime/checkpoint/errors.ts";

/** The CheckpointError that `action` throws; any other outcome fails the test. */
export function refusal(action: () => unknown): CheckpointError {
  try {
    action();
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
  throw new Error("expected a CheckpointError, got none");
}
