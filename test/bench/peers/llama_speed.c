/* llama_speed MODEL.gguf BACKENDS_DIR THREADS CONTEXT_SIZE : llama.cpp itself, with nothing around it that costs time.
   Reads commands from standard input, a line each, and answers each with seconds per token:
     decode CONTEXT TOKENS   after a prompt of CONTEXT tokens; the most likely token is fed back
     prefill TOKENS
   Declarations are those of llama.h; parameter blocks are passed as they came, but for their first fields. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct params { int32_t word[256]; }; /* larger than any version's */
struct batch { int32_t n_tokens; void *token, *embd, *pos, *n_seq_id, *seq_id, *logits; };

extern void ggml_backend_load_all_from_path(const char*);
extern void llama_backend_init(void);
extern const char* llama_print_system_info(void);
extern struct params llama_model_default_params(void);
extern struct params llama_context_default_params(void);
extern void* llama_model_load_from_file(const char*, struct params);
extern void* llama_init_from_model(void*, struct params);
extern const void* llama_model_get_vocab(const void*);
extern int32_t llama_vocab_n_tokens(const void*);
extern void* llama_get_memory(const void*);
extern void llama_memory_clear(void*, _Bool);
extern struct batch llama_batch_get_one(int32_t*, int32_t);
extern int32_t llama_decode(void*, struct batch);
extern float* llama_get_logits_ith(void*, int32_t);
extern void llama_log_set(void (*)(int, const char*, void*), void*);

static void quiet(int level, const char* text, void* data) { (void)level; (void)text; (void)data; }

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
  llama_log_set(quiet, NULL);
  ggml_backend_load_all_from_path(argv[2]);
  llama_backend_init();
  void* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == NULL) {
    fprintf(stderr, "%s: cannot be loaded\n", argv[1]);
    return 1;
  }
  struct params p = llama_context_default_params();
  p.word[0] = atoi(argv[4]); /* n_ctx, then n_batch, n_ubatch: 2048 and 512 */
  int threads = 3;           /* n_threads, n_threads_batch: two fours, wherever this version has them */
  while (threads < 12 && !(p.word[threads] == 4 && p.word[threads + 1] == 4)) ++threads;
  if (threads == 12) {
    fprintf(stderr, "this version's parameters are not known\n");
    return 1;
  }
  p.word[threads] = p.word[threads + 1] = atoi(argv[3]);
  context = llama_init_from_model(model, p);
  if (context == NULL) return 1;
  vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
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
