"""The llamacpp engine: llama-cpp-python's low-level API, on the CPU. The only importer of llama_cpp."""
