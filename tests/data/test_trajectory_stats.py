import numpy as np

from vjepa_wm.data.trajectories.stats import QUANTILES, image_stats, merge_stats, vector_stats


def test_vector_and_image_statistics_agree_with_numpy():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(50, 3))
    stats = vector_stats(values)
    frames = generator.integers(0, 256, (20, 8, 8, 3), np.uint8)
    pictures = image_stats(frames)
    assert stats["count"].tolist() == [50] and pictures["count"].tolist() == [20]
    for name, share in QUANTILES.items():
        assert np.allclose(stats[name], np.quantile(values, share, axis=0))
        expected = np.quantile(frames.reshape(-1, 3) / 255, share, axis=0, method="inverted_cdf")
        assert np.allclose(pictures[name], expected.reshape(3, 1, 1))


def test_merged_statistics_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(size=(60, 3)) * [1, 5, 0.1] + [0, 100, 3]
    merged, whole = merge_stats(vector_stats(values[:13]), vector_stats(values[13:])), vector_stats(values)
    for name in ("min", "max", "mean", "std", "count"):
        assert np.allclose(merged[name], whole[name])
    assert np.allclose(merged["q50"], whole["q50"], rtol=0.3, atol=0.3)
