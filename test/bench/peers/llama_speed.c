/* llama_speed MODEL.gguf BACKENDS_DIR THREADS CONTEXT_SIZE : llama.cpp itself, with nothing around it that costs time.
   Reads commands from standard input, a line each, and answers each with seconds per token:
     decode CONTEXT TOKENS   after a prompt of CONTEXT tokens; the most likely token is fed back
     prefill TOKENS */
#include <time.h>

#include "llama_api.h"

extern struct batch llama_batch_get_one(int32_t*, int32_t);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void* context;
static int32_t vocabulary;

static int32_t choice(void) {
  const float* logits = llama_get_logits_ith(context, -1);
  int32_t best = 0;
  for (int32_t i = 1; i < vocabulary; ++i) best = logits[i] > logits[best] ? i : best;
  return best;
}

static void decode(int32_t* tokens, int32_t count) {
  if (llama_decode(context, llama_batch_get_one(tokens, count)) != 0) {
    fprintf(stderr, "llama_decode failed\n");
    exit(1);
  }
}

static void prompt(int32_t count) {
  int32_t* tokens = malloc((size_t)count * sizeof *tokens);
  for (int32_t i = 0; i < count; ++i) tokens[i] = 1000 + i * 7919 % 2000;
  llama_memory_clear(llama_get_memory(context), 1);
  decode(tokens, count);
  choice();
  free(tokens);
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "llama_speed MODEL.gguf BACKENDS_DIR THREADS CONTEXT_SIZE\n");
    return 2;
  }
  context = open_context(argv[1], argv[2], atoi(argv[3]), atoi(argv[4]), &vocabulary);
  if (context == NULL) return 1;
  printf("%s\n", llama_print_system_info());
  fflush(stdout);
  char line[100];
  while (fgets(line, sizeof line, stdin) != NULL) {
    int length, tokens;
    double seconds;
    if (sscanf(line, "decode %d %d", &length, &tokens) == 2) {
      prompt(length);
      int32_t next = choice();
      decode(&next, 1); /* what is made once for many tokens is made now */
      const double started = now();
      for (int i = 0; i < tokens; ++i) {
        next = choice();
        decode(&next, 1);
      }
      choice(); /* waits for the last */
      seconds = (now() - started) / tokens;
    } else if (sscanf(line, "prefill %d", &tokens) == 1) {
      const double started = now();
      prompt(tokens);
      seconds = (now() - started) / tokens;
    } else {
      fprintf(stderr, "unknown command: %s", line);
      return 2;
    }
    printf("%.9f\n", seconds);
    fflush(stdout);
  }
  return 0;
}
