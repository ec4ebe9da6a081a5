"""Networks: video encoder, masked predictor, action-conditioned predictor and the world model made of them."""
