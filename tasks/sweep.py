"""Remove what killed processes have left in the project, at the start of a run."""

from espalier.params import read_params
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine
from espalier.upkeep.sweep import find_leftovers, sweep

_WORTH_A_LINE = 1e6  # bytes


def sweep_leftovers(project: Project, report: ReportLine) -> None:
    """Remove the stale leftovers of a project, unless another process is at work in it.

    Args:
        project: the project.
        report: receives a sentence if that has freed room.
    """
    params = read_params(project.root)
    leftovers = find_leftovers(project.root, params.names, params.sweep)
    freed = sweep(leftovers, project.root)
    if freed > _WORTH_A_LINE:
        report(f"removed {len(leftovers)} leftovers of former runs, {freed / 1e6:.0f} MB")
