"""The llamacpp engine: llama-cpp-python's low-level API, on the CPU. The only importer of llama_cpp."""

import os

# Builds for macOS always have Metal, and open the GPU, compile all kernels and start a thread for it before any model
# is loaded. Read by ggml_backend_metal_reg when llama_cpp is first used, hence set before anything imports it.
os.environ["GGML_METAL_DEVICES"] = "0"
