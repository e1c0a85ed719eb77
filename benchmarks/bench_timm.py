"""A small network of each of timm's families, pruned to half its work: does it run, learn, save, load and export?

    python benchmarks/bench_timm.py [MODEL ...]

Prints a table in Markdown, with the refusal where a network is refused. Weights are random, and seconds are of the
processor, as in bench_families.py. timm is installed by the extra `dev`.
"""

import sys
import warnings

import timm
import torch
from bench_families import measure

from espalier.errors import EspalierError, Notice

MODELS = (
    "resnet18", "resnext26ts", "resnest14d", "seresnet18", "skresnet18", "densenet121", "dpn48b", "hrnet_w18_small",
    "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small_050", "efficientnet_lite0",
    "tf_efficientnetv2_b0", "mnasnet_050", "fbnetv3_b", "ghostnet_050", "ghostnetv2_100", "hardcorenas_a",
    "lcnet_050", "tinynet_e", "rexnet_100", "regnetx_002", "regnety_002", "repvgg_a0", "selecsls42", "hgnetv2_b0",
    "edgenext_xx_small", "convnext_atto", "convnextv2_atto", "coatnet_nano_rw_224", "crossvit_tiny_240",
    "cait_xxs24_224", "deit_tiny_patch16_224", "vit_tiny_patch16_224", "xcit_nano_12_p16_224", "levit_128s",
    "mobilevit_xxs", "mobilevitv2_050", "gmlp_ti16_224", "poolformer_s12", "pvt_v2_b0", "pit_ti_224",
    "visformer_tiny", "mambaout_femto", "efficientformer_l1", "efficientvit_b0", "convit_tiny",
    "eva02_tiny_patch14_224", "fastvit_t8", "repvit_m0_9", "starnet_s1", "inception_next_atto",
)  # fmt: skip
_LONGEST = 160  # characters of a refusal


def row(name: str) -> str:
    """One line of the table."""
    side = timm.get_pretrained_cfg(name).input_size[-1]
    try:
        result = measure(f"timm:{name}", side)
    except EspalierError as error:
        return f"| `{name}` | {side} | refused: {str(error)[:_LONGEST]} ... | | | |"
    except Exception as error:  # what a user would meet as a traceback
        return (
            f"| `{name}` | {side} | FAILED: {type(error).__name__}: {str(error)[:_LONGEST]} | | | |"
        )
    cells = (
        f"`{name}`",
        f"{side}",
        f"{result.before / 1e6:,.1f} M",
        f"{100 * result.after / result.before:.1f} %",
        f"{result.pruning:.1f}",
        f"{result.agreement:.0e}",
    )
    return f"| {' | '.join(cells)} |"


def main(asked: list[str]) -> None:
    """Print the table, a row as soon as it is known."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", Notice)
    print(
        "| model | image | MACs | kept | pruning, s | ONNX differs by |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for name in asked or MODELS:
        print(row(name), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
