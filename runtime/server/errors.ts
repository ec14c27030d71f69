// Failures in the shape that OpenAI's clients know.
import { GenerationError, type GenerationErrorCode } from "../generation/index.ts";

export type ApiErrorOptions = {
  /** The field of the request that is wrong. */
  readonly param?: string | undefined;
  readonly code?: string | undefined;
  readonly cause?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  404: "not_found_error",
  408: "timeout_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "server_error",
};

export type ErrorBody = {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
};

/** What a client is told, and with which status. */
export class ApiError extends Error {
  readonly status: number;
  readonly param: string | undefined;
  readonly code: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  static {
    ApiError.prototype.name = "ApiError";
  }

  constructor(status: number, message: string, options: ApiErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.status = status;
    this.param = options.param;
    this.code = options.code;
    this.headers = options.headers ?? {};
  }

  get body(): ErrorBody {
    return {
      error: {
        message: this.message,
        type: types[this.status] ?? "invalid_request_error",
        param: this.param ?? null,
        code: this.code ?? null,
      },
    };
  }

  toResponse(): Response {
    return Response.json(this.body, { status: this.status, headers: this.headers });
  }
}

const statusOf: Readonly<
  Record<GenerationErrorCode, readonly [status: number, code: string | undefined]>
> = {
  GENERATION_OPTION: [400, "invalid_value"],
  GENERATION_PROMPT: [400, "invalid_value"],
  GENERATION_LENGTH: [400, "context_length_exceeded"],
  GENERATION_BUSY: [429, "queue_full"],
  GENERATION_CLOSED: [503, "shutting_down"],
  GENERATION_NOT_FINITE: [500, "not_finite"],
};

/** Any failure as one to be told; what is no fault of the request's is not told in detail. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof GenerationError) {
    const [status, code] = statusOf[error.code];
    const headers = status === 429 ? { "retry-after": "1" } : {};
    return new ApiError(status, error.message, { code, headers, cause: error });
  }
  if (error instanceof Error && error.name === "TimeoutError") {
    return new ApiError(408, "the request took longer than this server allows", {
      ...{ code: "timeout", cause: error },
    });
  }
  return new ApiError(500, "the server failed; its log says why", {
    ...{ code: "internal_error", cause: error },
  });
}
