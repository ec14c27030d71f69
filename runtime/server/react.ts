// Function calling as Qwen was trained on it: tools described in the prompt, calls and results as lines of text (Yao et al.,
// "ReAct", arXiv:2210.03629).
/** @see QwenLM/Qwen `openai_api.py` */

/** A function as a request describes it. Qwen's own fields name it apart for people and for the model. */
export type FunctionTool = {
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON schema, or Qwen's list of parameters. */
  readonly parameters?: unknown;
  readonly name_for_human?: string | undefined;
  readonly name_for_model?: string | undefined;
  readonly description_for_model?: string | undefined;
};

export type FunctionCall = {
  readonly name: string;
  /** As the model wrote it: JSON, unless it went wrong. */
  readonly arguments: string;
};

/** Where the model stops, to be given a result. */
export const observationStop = "Observation:";

export const modelName = (tool: FunctionTool): string => tool.name_for_model ?? tool.name;

/** What precedes the question. */
export function toolInstruction(tools: readonly FunctionTool[]): string {
  const texts = tools.map((tool) => {
    const human = tool.name_for_human ?? tool.name;
    const description = tool.description_for_model ?? tool.description ?? "";
    return (
      `${modelName(tool)}: Call this tool to interact with the ${human} API. What is the ${human} API useful for? ` +
      `${description} Parameters: ${pythonJson(tool.parameters ?? {})}`
    );
  });
  return `Answer the following questions as best you can. You have access to the following APIs:

${texts.join("\n\n")}

Use the following format:

Question: the input question you must answer
Thought: you should always think about what to do
Action: the action to take, should be one of [${tools.map(modelName).join(", ")}]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question

Begin!`;
}

/** JSON with the separators of Python's `json.dumps`, which the training data has. */
function pythonJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
    return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}: ${pythonJson(entry)}`).join(", ")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/** An assistant's message that calls a function, as the model would have written it. */
export function renderCall(content: string, call: FunctionCall): string {
  const thought = content.startsWith("Thought:") ? content : `Thought: ${content}`;
  return `${thought}\nAction: ${call.name}\nAction Input: ${call.arguments}`;
}

export const renderAnswer = (content: string): string =>
  `Thought: I now know the final answer.\nFinal Answer: ${content}`;

export const renderObservation = (content: string): string => `\nObservation: ${content}`;

/** After the result that comes last, the model goes on here. */
export const nextThought = "\nThought:";

export type ReactAnswer = {
  readonly content: string;
  readonly call: FunctionCall | undefined;
};

const actionMark = "\nAction:";
const inputMark = "\nAction Input:";
const thoughtMark = "Thought: ";
const finalMark = "\nFinal Answer: ";

/** Reads what the model wrote, up to where it stopped. Unlike the original, a text that begins with an action counts as one. */
export function parseReact(text: string): ReactAnswer {
  const lines = `\n${text}`;
  const action = lines.indexOf(actionMark);
  const input = lines.indexOf(inputMark);
  if (action >= 0 && action < input) {
    const observation = lines.indexOf(`\n${observationStop}`, input);
    const name = lines.slice(action + actionMark.length, input).trim();
    const end = observation < 0 ? undefined : observation;
    const call = { name, arguments: lines.slice(input + inputMark.length, end).trim() };
    if (name !== "") return { content: thoughtOf(lines.slice(0, action)), call };
  }
  const final = lines.lastIndexOf(finalMark);
  return { content: final < 0 ? text : lines.slice(final + finalMark.length), call: undefined };
}

function thoughtOf(text: string): string {
  const at = text.indexOf(thoughtMark);
  return (at < 0 ? text : text.slice(at + thoughtMark.length)).trim();
}

/** A part of an answer that can be shown now. */
export type ReactDelta =
  | { readonly kind: "content"; readonly text: string }
  | { readonly kind: "call"; readonly name: string }
  | { readonly kind: "arguments"; readonly text: string };

/**
 * `parseReact` as the text comes: thoughts are held back until it is known what they lead to; a call's arguments and a final
 * answer are not.
 */
export class ReactStream {
  #text = "";
  #state: "thinking" | "arguments" | "answer" = "thinking";
  /** Characters of #text that were told or belong to marks. */
  #told = 0;
  #hasBegun = false;

  push(delta: string): readonly ReactDelta[] {
    this.#text += delta;
    if (this.#state === "thinking") return this.#look();
    return this.#tell();
  }

  /** The rest, at the end. */
  finish(): readonly ReactDelta[] {
    if (this.#state !== "thinking") {
      const rest = this.#text.slice(this.#told).trimEnd();
      return rest === "" ? [] : [{ kind: this.#kind, text: rest }];
    }
    const { content, call } = parseReact(this.#text);
    return [
      ...(content === "" ? [] : [{ kind: "content", text: content } as const]),
      ...(call === undefined
        ? []
        : ([
            { kind: "call", name: call.name },
            { kind: "arguments", text: call.arguments },
          ] as const)),
    ];
  }

  get #kind(): "content" | "arguments" {
    return this.#state === "answer" ? "content" : "arguments";
  }

  #look(): readonly ReactDelta[] {
    const lines = `\n${this.#text}`;
    const action = lines.indexOf(actionMark);
    const input = lines.indexOf(inputMark);
    const final = lines.indexOf(finalMark);
    if (action >= 0 && action < input) {
      const { content, call } = parseReact(this.#text);
      if (call === undefined) return [];
      this.#state = "arguments";
      this.#told = input - 1 + inputMark.length;
      return [
        ...(content === "" ? [] : [{ kind: "content", text: content } as const]),
        { kind: "call", name: call.name },
        ...this.#tell(),
      ];
    }
    if (final < 0) return [];
    this.#state = "answer";
    this.#told = final - 1 + finalMark.length;
    return this.#tell();
  }

  /** White space at the end is held back: it is part of the answer only if something follows. */
  #tell(): readonly ReactDelta[] {
    let text = this.#text.slice(this.#told);
    if (!this.#hasBegun && this.#state === "arguments") {
      this.#told += text.length - text.trimStart().length;
      text = text.trimStart();
    }
    const shown = text.trimEnd();
    if (shown === "") return [];
    this.#hasBegun = true;
    this.#told += shown.length;
    return [{ kind: this.#kind, text: shown }];
  }
}
