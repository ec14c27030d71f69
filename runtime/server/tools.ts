// Which functions a request offers, in OpenAI's `tools` form or the older `functions` form.
import { ApiError } from "./errors.ts";
import { type FunctionTool, modelName } from "./react.ts";
import type { ChatBody } from "./schemas.ts";

export type ToolUse = {
  /** How calls are told: as `tool_calls` or as one `function_call`. */
  readonly form: "tools" | "functions";
  /** Whether the model may call a function. */
  readonly isOffered: boolean;
  readonly offered: readonly FunctionTool[];
  /** What the answer begins with where a function has to be called. */
  readonly forced: ForcedCall | undefined;
};

/** @throws ApiError 400 for contradictions */
export function toolUseOf(body: ChatBody): ToolUse {
  const { tools, functions } = body;
  const hasTools = (tools?.length ?? 0) > 0;
  if (hasTools && (functions?.length ?? 0) > 0) {
    throw new ApiError(400, "functions: not together with tools, whose older form they are", {
      ...{ param: "functions", code: "unsupported" },
    });
  }
  const form = hasTools ? "tools" : "functions";
  const described = hasTools ? (tools ?? []).map((tool) => tool.function) : (functions ?? []);
  const choice = choiceOf(body);
  const offered = choice === "none" ? [] : described;
  const forced =
    choice === "required" || typeof choice === "object" ? forcedCall(choice, offered) : undefined;
  return { form, isOffered: offered.length > 0, offered, forced };
}

type Choice = "none" | "auto" | "required" | { readonly name: string };

function choiceOf({ tool_choice, function_call }: ChatBody): Choice {
  const choice = tool_choice ?? function_call ?? "auto";
  return typeof choice === "object" && "function" in choice ? choice.function : choice;
}

/** Begins the answer with a call, so that the model can only go on with it. */
export class ForcedCall {
  /** What has to be parsed before the model's own text. */
  readonly text: string;

  /** @param name  undefined leaves the function to the model */
  constructor(name: string | undefined) {
    this.text = name === undefined ? "Action:" : `Action: ${name}\nAction Input:`;
  }

  /** The same as it follows what the answer begins with already. */
  after(opening: string): string {
    const thought = opening === "" ? "Thought: " : " ";
    return `${thought}I should use a tool.\n${this.text}`;
  }
}

function forcedCall(
  choice: "required" | { readonly name: string },
  offered: readonly FunctionTool[],
): ForcedCall {
  const [first, ...others] = offered;
  if (first === undefined) {
    throw new ApiError(400, "tool_choice: a function must be called, but none is offered", {
      ...{ param: "tool_choice", code: "invalid_value" },
    });
  }
  if (choice === "required") {
    return new ForcedCall(others.length === 0 ? modelName(first) : undefined);
  }
  const chosen = offered.find((tool) => [tool.name, tool.name_for_model].includes(choice.name));
  if (chosen !== undefined) return new ForcedCall(modelName(chosen));
  throw new ApiError(400, `tool_choice: no function "${choice.name}" is offered`, {
    ...{ param: "tool_choice", code: "invalid_value" },
  });
}

export const noTools: ToolUse = {
  ...{ form: "tools", isOffered: false, offered: [], forced: undefined },
};
