"""The mlx engine: mlx-lm's model code and batch generator; Metal GPU or CPU. The only importer of mlx and mlx_lm."""
