"""Options of `classify`, and the settings of the papers by name.

Source: V-JEPA 2 (arXiv 2506.09985), sections 4 to 6 and appendix on probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vjepa_wm.checks import check_at_least, check_within
from vjepa_wm.data.labelled.clip_views import ClipOptions
from vjepa_wm.data.labelled.find_labelled import LabelOptions
from vjepa_wm.models.linear_classifier import Readout
from vjepa_wm.models.precision import Precision, pick_device
from vjepa_wm.training.classification.finetuning import FinetuneOptions
from vjepa_wm.training.classification.future import FutureOptions
from vjepa_wm.training.classification.heads import HeadKind

PresetName = Literal["small", "ssv2", "k400", "coin", "diving48", "jester", "in1k", "ek100"]
_RATES = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
_DECAYS = (0.01, 0.1, 0.4, 0.8)


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """Tell what an encoder is worth on labelled videos or pictures."""

    data: Path
    """Labelled data: a folder of folders, a list, split files, json, or a table; see docs/classification.md."""
    encoder: str
    """Encoder: a folder as `pretrain` writes it, a world model's, a file or folder of published weights, or their
    name."""
    out: Path
    """Folder for the results; a run found there is resumed."""
    preset: PresetName = "small"
    """Settings by name: small ones for a CPU, or those of V-JEPA 2 for a data set; other options change them."""
    read: LabelOptions = field(default_factory=LabelOptions)
    """How the labels are read."""
    clips: ClipOptions = field(default_factory=ClipOptions)
    """What is seen of a video or picture."""
    future: FutureOptions = field(default_factory=FutureOptions)
    """Anticipation: what a predictor expects after the clip is read too, as V-JEPA 2 does for EPIC-KITCHENS."""
    probe: str | None = None
    """A trained head to measure on the test items, without training: a folder of `classify`, or a published probe."""
    heads: tuple[HeadKind, ...] = ()
    """What is trained or asked; none: linear, attentive-1 and knn; for verb, noun and action attentive-4."""
    readout: Readout | None = None
    """What linear and knn read; none: the class token if the encoder has one, else the mean."""
    levels: int = 1
    """Outputs of the encoder, ending with the last, whose tokens are put end to end."""
    num_heads: int | None = None
    """Attention heads of attentive probes; none: 16 for widths from 1024 on, else those of the encoder."""
    learning_rates: tuple[float, ...] = (3e-3, 1e-3)
    """Each head is trained with each of them."""
    weight_decays: tuple[float, ...] = (0.1,)
    """And with each of these."""
    validation_share: float = 0.1
    """Share of the training items that chooses among rates and decays; 0 chooses on the test set, as papers do."""
    epochs: int = 40
    """Passes over the training items."""
    batch_size: int = 16
    """Items per step."""
    neighbours: int = 10
    """Training items that vote in knn."""
    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    """Training of the encoder itself, or of its last blocks, in place of heads on frozen features."""
    features: Path | None = None
    """Folder that keeps features, for this run and others; none: a hidden one beside the labels."""
    encode_batch_size: int = 4
    """Clips and views encoded at once."""
    precision: Precision = "auto"
    """auto takes bf16 where the processor has it."""
    device: str = "auto"
    """auto takes a GPU if there is one."""
    seed: int = 0
    """Decides splits, initial weights and the order of the items."""
    log_every: int = 20
    """Steps between rows of metrics."""
    evaluations: int = 10
    """How often within the run the heads are measured and the state is saved."""
    tensorboard: bool = False
    """Write TensorBoard files too (needs the extra `log`)."""

    free_options = ("out", "features", "device", "log_every", "evaluations", "tensorboard", "encode_batch_size")

    def __post_init__(self) -> None:
        check_at_least(1, levels=self.levels, num_heads=self.num_heads, epochs=self.epochs, neighbours=self.neighbours)
        check_at_least(1, batch_size=self.batch_size, encode_batch_size=self.encode_batch_size)
        check_at_least(1, log_every=self.log_every, evaluations=self.evaluations)
        check_at_least(0, seed=self.seed)
        check_within(0, 0.9, validation_share=self.validation_share)
        for name in ("learning_rates", "weight_decays"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one, got none")
        for rate in self.learning_rates:
            check_at_least(0, learning_rates=rate)
        for decay in self.weight_decays:
            check_at_least(0, weight_decays=decay)
        if len(set(self.heads)) < len(self.heads):
            raise ValueError(f"heads must be named once each, got {', '.join(self.heads)}")
        if self.probe is not None and self.finetune.blocks != 0:
            raise ValueError("probe is measured without training, so finetune.blocks must be 0")
        if self.future.predictor is not None and self.finetune.blocks != 0:
            raise ValueError("future.predictor is read beside a frozen encoder, so finetune.blocks must be 0")
        pick_device(self.device)

    def chosen_heads(self, classes: Mapping[str, Any]) -> tuple[HeadKind, ...]:
        """Return what is trained or asked for these questions.

        Raises:
            ValueError: if a head cannot answer them.
        """
        single = len(classes) == 1
        heads: tuple[HeadKind, ...] = self.heads or (("linear", "attentive-1", "knn") if single else ("attentive-4",))
        for kind in heads:
            if not single and not kind.startswith("attentive"):
                raise ValueError(f"heads must be attentive to answer {', '.join(classes)}, got {kind}")
        return heads

    @property
    def settings(self) -> list[tuple[float, float]]:
        """Rates and decays that each trained head is trained with."""
        return [(rate, decay) for rate in self.learning_rates for decay in self.weight_decays]


def preset(name: PresetName, **where: Any) -> ClassifyConfig:
    """Return the settings of a name.

    The published ones agree with the papers but for what cached features cannot have: each training clip is seen in its
    centre crop, not in random ones.

    Args:
        name: which.
        where: `data`, `encoder` and `out`.
    """
    config = ClassifyConfig(**where)
    if name == "small":
        return config
    published = replace(
        config,
        preset=name,
        heads=("attentive-4",),
        learning_rates=_RATES,
        weight_decays=_DECAYS,
        validation_share=0.0,
        epochs=20,
        batch_size=256,
        clips=ClipOptions(num_frames=16, clips=2, views=3),
        evaluations=20,
        encode_batch_size=16,
    )
    if name == "ssv2":
        return replace(
            published, clips=ClipOptions(num_frames=16, fps=3.0, clips=2, views=3)
        )  # step 4 of 12 per second
    if name == "k400":
        return replace(published, clips=ClipOptions(num_frames=16, fps=7.5, clips=8, views=3))
    if name == "coin":
        return replace(published, clips=ClipOptions(num_frames=16, fps=7.5, clips=8, views=3), batch_size=128)
    if name in ("diving48", "jester"):
        return replace(
            published,
            clips=ClipOptions(num_frames=32, fps=15.0 if name == "diving48" else 6.0, clips=4, views=3),
            levels=4,
            epochs=100,
            batch_size=128,
            learning_rates=(1e-3, 3e-4, 1e-4),
            weight_decays=(0.8,),
        )
    if name == "in1k":
        return replace(published, clips=ClipOptions(num_frames=16), batch_size=1024)
    return replace(
        published,
        clips=ClipOptions(num_frames=32, fps=8.0),
        read=LabelOptions(anticipation_s=1.0),
        weight_decays=(1e-4, 1e-3, 1e-2, 1e-1),
        batch_size=128,
    )
