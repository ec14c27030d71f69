/* llama_logits MODEL.gguf BACKENDS_DIR THREADS WINDOW < ids > logits : llama.cpp's logits at every position. Token ids are i32, windows of
   WINDOW tokens one after another, each by itself; logits are f32 [WINDOW, vocabulary] for each. On standard error, a line with
   "tensors ELEMENTS BYTES" of the blocks' matrices, and the system's features. */
#include "llama_api.h"

struct gguf_params { _Bool no_alloc; void** ctx; };

extern struct batch llama_batch_init(int32_t, int32_t, int32_t);
/* of gguf.h */
extern void* gguf_init_from_file(const char*, struct gguf_params);
extern int64_t gguf_get_n_tensors(const void*);
extern const char* gguf_get_tensor_name(const void*, int64_t);
extern int gguf_get_tensor_type(const void*, int64_t);
extern size_t gguf_get_tensor_size(const void*, int64_t);
extern size_t ggml_type_size(int);
extern int64_t ggml_blck_size(int);

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
  int32_t vocabulary;
  void* context = open_context(argv[1], argv[2], atoi(argv[3]), window, &vocabulary);
  if (context == NULL) return 1;
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
    for (int i = 0; i < window; ++i) fwrite(llama_get_logits_ith(context, i), sizeof(float), (size_t)vocabulary, stdout);
  }
  return 0;
}
