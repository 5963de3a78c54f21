# Included by CMake when llama-cpp-python's own project begins (CMAKE_PROJECT_llama_cpp_INCLUDE): of llama.cpp build what
# Python loads, ggml, llama and mtmd. Its `common` is for llama.cpp's own programs, which are not built, and brings an
# HTTP library with it. The package switches it on in the cache; a normal variable goes before that (CMP0126, CMP0077).
set(LLAMA_BUILD_COMMON OFF)
