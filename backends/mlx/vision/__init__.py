"""How models see on mlx: mlx-vlm's code of a model, under mlx-lm's BatchGenerator, which handles token ids only.

Imported in workers of models that see only, but for `model`, which needs neither mlx-vlm nor Pillow.
"""
