// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

@main
enum Stress {
    static func main() {
        let options: Options
        do { options = try Options(CommandLine.arguments.dropFirst()) } catch {
            complain("resilience-stress: \(error.text)")
            exit(64)
        }
        if options.wantsHelp {
            print(Options.help)
            return
        }
        do {
            let threads = try GuardStress.run(options)
            if options.operations > 0 { print(threads) }
            if options.operations > 0 {
                let rates = PlainRate.best(of: 3, threads: [2, options.threads], operations: options.operations / 20).map {
                    "\(PlainRate.inWords($0.rate)) a second with \($0.threads) threads"
                }
                print("plain attempts: \(rates[0]), \(rates[1])")
            }
            let seam = try SeamCheck.run(interleavings: options.interleavings, seed: options.seed)
            if options.interleavings > 0 { print(seam) }
            print(
                "ok: B2 K1 K2 K6 R3 R4 held in \(threads.operations) operations of \(options.threads) threads "
                    + "(\(threads.perSecond) a second) and \(seam.interleavings) interleavings, seed \(options.seed)")
        } catch {
            complain("resilience-stress: \(error) (seed \(options.seed))")
            exit(1)
        }
    }

    private static func complain(_ text: String) {
        let line = Array((text + "\n").utf8)
        _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

/// Nanoseconds of the machine's monotonic clock, for the rate alone: nothing that is checked depends on it.
func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
