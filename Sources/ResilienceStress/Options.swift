// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What the program was asked to do.
struct Options: Equatable {
    var threads = 8
    var operations = 10_000_000
    var interleavings = 1_000_000
    var seed: UInt64 = 20_261_125
    var wantsHelp = false

    struct Complaint: Error, Equatable { var text: String }

    static let help = """
        resilience-stress checks the guard of the Resilience library on real threads, and the bulkhead's seam between the
        permit that is taken at once and the queue, by random interleavings against a plain model.

        usage: resilience-stress [--threads N] [--operations N] [--interleavings N] [--seed N]

          --threads N         real threads on one guard, 1 to 64 (default 8)
          --operations N      attempts asked for by all threads together (default 10000000; 0 skips this part)
          --interleavings N   random interleavings of take, join, release, cancel, expire and apply (default 1000000; 0 skips)
          --seed N            of both parts (default 20261125); the seam repeats exactly, threads are threads
          --help              this text

        It checks, by counts of its own beside the guard's:
          B2  one half-open generation admits at most as many probes as it may
          K1  never more permits in use than there are
          K2  each arrival is granted, refused or cancelled, once; each grant comes back once
          K6  a free permit and a live waiter never stand side by side
          R3  no more retry tokens at once than the cap, nor in all than the budget
          R4  each retry token is finished or refunded, once

        exit status: 0 all held, 1 a violation (it is printed with its seed), 64 the arguments make no sense

        Under the thread sanitizer:
          swift build -c release --product resilience-stress --sanitize thread --scratch-path /tmp/stress-tsan
          /tmp/stress-tsan/release/resilience-stress --operations 1000000 --interleavings 0
        """

    init() {}

    init(_ words: some Sequence<String>) throws(Complaint) {
        var rest = words.makeIterator()
        while let word = rest.next() {
            switch word {
            case "--help", "-h": wantsHelp = true
            case "--threads", "--operations", "--interleavings", "--seed":
                guard let text = rest.next(), let value = UInt64(text) else {
                    throw Complaint(text: "\(word) needs a whole number; --help shows an example")
                }
                if word == "--seed" {
                    seed = value
                    continue
                }
                let range = word == "--threads" ? 1...64 : 0...1_000_000_000_000
                guard let number = Int(exactly: value), range.contains(number) else {
                    throw Complaint(text: "\(word) \(text) is out of range (\(range.lowerBound) to \(range.upperBound))")
                }
                switch word {
                case "--threads": threads = number
                case "--operations": operations = number
                default: interleavings = number
                }
            default: throw Complaint(text: "unknown argument \(word); --help lists them")
            }
        }
    }
}

/// An invariant that did not hold.
struct Violation: Error, CustomStringConvertible {
    var invariant: String
    var text: String

    init(_ invariant: String, _ text: String) {
        self.invariant = invariant
        self.text = text
    }

    var description: String { "\(invariant) violated: \(text)" }
}
