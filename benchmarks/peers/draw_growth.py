"""Draws what benchmarks.growth found: `draw_growth.py FILE.png`, panels as JSON on standard input."""

import json
import sys
from statistics import median

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOUR = "#0072b2"


def main() -> None:
    panels = json.load(sys.stdin)
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.2), layout="constrained")
    for axis, panel in zip(axes, panels, strict=True):
        sizes = [int(size) for size in panel["times"]]
        times = list(panel["times"].values())
        axis.fill_between(sizes, [min(each) for each in times], [max(each) for each in times], color=COLOUR, alpha=0.2, lw=0)
        axis.plot(sizes, [median(each) for each in times], "o-", color=COLOUR, ms=4)
        if max(sizes) > 10 * min(sizes):
            axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(panel["title"].replace(" (", "\n("), fontsize=9)
        axis.grid(alpha=0.3, which="both", lw=0.5)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.5 * high), max(high, 2 * low))
    axes[0].set_ylabel("milliseconds an update")
    figure.savefig(sys.argv[1], dpi=90)


if __name__ == "__main__":
    main()
