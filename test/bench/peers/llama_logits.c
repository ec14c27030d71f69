/* llama_logits MODEL.gguf BACKENDS_DIR THREADS WINDOW < ids > logits : llama.cpp's logits at every position. Token ids are i32, windows of
   WINDOW tokens one after another, each by itself; logits are f32 [WINDOW, vocabulary] for each. On standard error, a line with
   "tensors ELEMENTS BYTES" of the blocks' matrices, and the system's features. Declarations are those of llama.h and gguf.h; parameter
   blocks are passed as they came, but for their first fields. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct params { int32_t word[256]; }; /* larger than any version's */
struct batch { int32_t n_tokens; int32_t* token; float* embd; int32_t* pos; int32_t* n_seq_id; int32_t** seq_id; int8_t* logits; };
struct gguf_params { _Bool no_alloc; void** ctx; };

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
extern struct batch llama_batch_init(int32_t, int32_t, int32_t);
extern int32_t llama_decode(void*, struct batch);
extern float* llama_get_logits_ith(void*, int32_t);
extern void llama_log_set(void (*)(int, const char*, void*), void*);
extern void* gguf_init_from_file(const char*, struct gguf_params);
extern int64_t gguf_get_n_tensors(const void*);
extern const char* gguf_get_tensor_name(const void*, int64_t);
extern int gguf_get_tensor_type(const void*, int64_t);
extern size_t gguf_get_tensor_size(const void*, int64_t);
extern size_t ggml_type_size(int);
extern int64_t ggml_blck_size(int);

static void quiet(int level, const char* text, void* data) { (void)level; (void)text; (void)data; }

/* Of the blocks' matrices: what a quantizer of linears is compared by. */
static void describe(const char* path) {
  struct gguf_params p = {1, NULL};
  const void* file = gguf_init_from_file(path, p);
  double elements = 0, bytes = 0;
  for (int64_t i = 0; file != NULL && i < gguf_get_n_tensors(file); ++i) {
    const char* name = gguf_get_tensor_name(file, i);
    if (strncmp(name, "blk.", 4) != 0 || strstr(name, "norm") != NULL || strstr(name, "bias") != NULL) continue;
    const int type = gguf_get_tensor_type(file, i);
    const double size = (double)gguf_get_tensor_size(file, i);
    elements += size / (double)ggml_type_size(type) * (double)ggml_blck_size(type);
    bytes += size;
  }
  fprintf(stderr, "tensors %.0f %.0f\n", elements, bytes);
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "llama_logits MODEL.gguf BACKENDS_DIR THREADS WINDOW\n");
    return 2;
  }
  const int window = atoi(argv[4]);
  llama_log_set(quiet, NULL);
  ggml_backend_load_all_from_path(argv[2]);
  llama_backend_init();
  void* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == NULL) {
    fprintf(stderr, "%s: cannot be loaded\n", argv[1]);
    return 1;
  }
  struct params p = llama_context_default_params();
  p.word[0] = window; /* n_ctx */
  int threads = 3;    /* n_threads, n_threads_batch: two fours, wherever this version has them */
  while (threads < 12 && !(p.word[threads] == 4 && p.word[threads + 1] == 4)) ++threads;
  if (threads == 12) {
    fprintf(stderr, "this version's parameters are not known\n");
    return 1;
  }
  p.word[threads] = p.word[threads + 1] = atoi(argv[3]);
  void* context = llama_init_from_model(model, p);
  if (context == NULL) return 1;
  const size_t vocabulary = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model));
  fprintf(stderr, "%s\n", llama_print_system_info());
  describe(argv[1]);
  struct batch batch = llama_batch_init(window, 0, 1);
  while (fread(batch.token, sizeof(int32_t), (size_t)window, stdin) == (size_t)window) {
    batch.n_tokens = window;
    for (int i = 0; i < window; ++i) {
      batch.pos[i] = i;
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = 1;
    }
    llama_memory_clear(llama_get_memory(context), 1);
    if (llama_decode(context, batch) != 0) {
      fprintf(stderr, "llama_decode failed\n");
      return 1;
    }
    for (int i = 0; i < window; ++i) fwrite(llama_get_logits_ith(context, i), sizeof(float), vocabulary, stdout);
  }
  return 0;
}
