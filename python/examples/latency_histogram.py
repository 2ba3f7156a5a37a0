# %% [markdown]
# # How long does a request take?
# A notebook in cells, for Jupyter, VS Code or plain Python: `latency_histogram.py [FILE]` writes the plot to FILE, and
# without one shows it. It needs matplotlib: `pip install './python[examples]'`.
#
# The controllers run in threads of their own, outside of Python's lock. The host waits for each answer by itself, so a
# latency is a round trip between two cores: submission, the controller's turn, and the answer.

# %%
import sys
import time

import matplotlib

OUTPUT = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[0].endswith("ipykernel_launcher.py") else None
if OUTPUT:
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import baton
from baton import Operation, Wait, Which

REQUESTS = 20_000

# %% [markdown]
# ## Measure
# One request at a time: to the owner, and then to each controller in turn, so that ownership moves with each request.


# %%
def latencies(host, controllers):
    """The nanoseconds that each request takes, the calls of the library included."""
    batch = host.batch(1, operation=Operation.READ, length=4096)
    which = batch.requests["controller"]
    submit, reap, clock = batch.submit, batch.reap, time.perf_counter_ns
    times = np.empty(REQUESTS, np.int64)
    for i in range(REQUESTS):
        which[0] = controllers[i % len(controllers)]
        before = clock()
        if submit() != 1 or reap(1, 60) != 1:
            raise RuntimeError("a request was not answered")
        times[i] = clock() - before
        if batch.completions["status"][0] != 0:
            raise RuntimeError("a request failed")
    return times


with baton.Subsystem.create("latency-histogram", ["null:1G"], replace=True) as subsystem:
    a = baton.ControllerThread(subsystem, Which.A)
    b = baton.ControllerThread(subsystem, Which.B)
    with a, b, baton.Host(subsystem, wait=Wait.ADAPTIVE) as host:
        subsystem.wait_serving()
        host.attach()
        host.read(0, 0, 4096, controller=Which.A)
        measured = {
            "to the owner": latencies(host, [Which.A]),
            "ownership moves": latencies(host, [Which.B, Which.A]),
        }

# %% [markdown]
# ## Look
# The scale is logarithmic: the longest waits are those of a thread that lost its core.

# %%
figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
everything = np.concatenate(list(measured.values()))
bins = np.geomspace(everything.min(), everything.max(), 80)
for name, times in measured.items():
    p50, p99 = np.percentile(times, [50, 99])
    print(f"{name}: p50 {p50:,.0f} ns, p99 {p99:,.0f} ns over {len(times):,} requests")
    drawn = axes.hist(times, bins, histtype="step", linewidth=1.5, label=f"{name}: p50 {p50 / 1000:.1f} µs")
    axes.axvline(p99, color=drawn[2][0].get_edgecolor(), linestyle=":", label=f"{name}: p99 {p99 / 1000:.1f} µs")
axes.set(
    xscale="log", yscale="log", xlabel="nanoseconds from submission to answer", ylabel="requests",
    title=f"Dispatch from Python, {baton.version()}")
axes.legend()
if OUTPUT:
    figure.savefig(OUTPUT, dpi=100)
else:
    plt.show()
