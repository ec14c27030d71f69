/* What the programs here need of llama.cpp, by the declarations of its llama.h; parameter blocks
   are passed as they came, but for their first fields. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct params {
  int32_t word[256];
}; /* larger than any version's */
struct batch {
  int32_t n_tokens;
  int32_t* token;
  float* embd;
  int32_t* pos;
  int32_t* n_seq_id;
  int32_t** seq_id;
  int8_t* logits;
};

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
extern int32_t llama_decode(void*, struct batch);
extern float* llama_get_logits_ith(void*, int32_t);
extern void llama_log_set(void (*)(int, const char*, void*), void*);

static void quiet(int level, const char* text, void* data) {
  (void)level;
  (void)text;
  (void)data;
}

/* A context for a model's file, or NULL with the reason on standard error. */
static void* open_context(const char* path, const char* backends, int threads, int size,
                          int32_t* vocabulary) {
  llama_log_set(quiet, NULL);
  ggml_backend_load_all_from_path(backends);
  llama_backend_init();
  void* model = llama_model_load_from_file(path, llama_model_default_params());
  if (model == NULL) {
    fprintf(stderr, "%s: cannot be loaded\n", path);
    return NULL;
  }
  struct params p = llama_context_default_params();
  p.word[0] = size; /* n_ctx, then n_batch, n_ubatch: 2048 and 512 */
  int at = 3;       /* n_threads, n_threads_batch: two fours, wherever this version has them */
  while (at < 12 && !(p.word[at] == 4 && p.word[at + 1] == 4)) ++at;
  if (at == 12) {
    fprintf(stderr, "this version's parameters are not known\n");
    return NULL;
  }
  p.word[at] = p.word[at + 1] = threads;
  *vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  return llama_init_from_model(model, p);
}
