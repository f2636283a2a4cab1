// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Benchmark
import HoldfastBenchmarks

let benchmarks: @Sendable () -> Void = {
    do {
        for body in try MeasuredBody.all() {
            Benchmark(
                body.name,
                configuration: .init(
                    metrics: [.wallClock, .throughput], scalingFactor: body.isLong ? .one : .kilo, maxDuration: .seconds(3))
            ) { benchmark in
                blackHole(body.run(benchmark.scaledIterations.count))
            }
        }
    } catch {
        fatalError("\(error)")
    }
}
