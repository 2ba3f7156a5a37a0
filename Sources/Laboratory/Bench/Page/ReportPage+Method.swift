import BatonCommandKit

extension ReportPage {
  /// The method behind the figures.
  var method: Markup {
    tag(
      "section", ["class": "card method", "id": "method"], tag("h2", [:], "The method"),
      tag(
        "dl", [:],
        Markup(points.map { tag("div", [:], tag("dt", [:], Markup($0.name)), tag("dd", [:], Markup($0.words))) })))
  }

  private var points: [(name: String, words: String)] {
    [
      (
        "Interleaved",
        """
        Baton, its floor and its peers are measured in turn in every round of the same call, and every round begins \
        with another of them. Whatever else the machine does meets them all. The first round warms up and is \
        dropped.
        """
      ),
      (
        "Ratios",
        """
        A ratio is made of two measurements of the same round: ours divided by theirs for what should be small, \
        theirs divided by ours for what should be large. Reported is the median over the rounds.
        """
      ),
      (
        "Spread",
        """
        The 10th and the 90th percentile over the rounds. Where two spreads overlap, a difference of their medians \
        says little.
        """
      ),
      (
        "Control",
        """
        One thing is measured twice a round, as if it were two. When their ratio is further than 5 % from 1, the \
        report begins with a warning.
        """
      ),
      (
        "Waiting",
        """
        Spinning processes look all the time and need a core each; parked ones sleep in the kernel and are woken. \
        The two differ by orders of magnitude and are reported apart.
        """
      ),
      (
        "Latency under load",
        """
        Requests of an open loop are due at times that were fixed beforehand, and a latency counts from there, not \
        from when the request could be sent. A stall is charged to every request that it kept waiting: no \
        coordinated omission.
        """
      ),
      (
        "The clock",
        """
        One reading costs \(Quantity.text(report.machine.timerNanoseconds, "ns")) here. Round trips are timed in \
        batches, so that it does not count; where requests are timed one by one, it is part of each of them.
        """
      ),
      (
        "Bars and curves",
        """
        All bars of this page have one scale. Curves have the percentile to the right, each nine as wide as the one \
        before, and the latency upwards, in powers of ten.
        """
      ),
    ]
  }

  /// The origin of the page.
  var foot: Markup {
    tag(
      "footer", [:],
      "Made by baton bench \(report.machine.baton). The same figures for programs: baton bench --json FILE.")
  }
}
