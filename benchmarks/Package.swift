// swift-tools-version: 6.2
// Holdfast
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// A package of its own, so that what measures stays out of what is measured. Traits are off: the allocation and reference-count
// interposers slow down what they watch.
let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(name: "holdfast", path: ".."),
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "Holdfast",
            dependencies: [
                .product(name: "_HoldfastBenchmarks", package: "holdfast"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "Benchmarks/Holdfast",
            swiftSettings: [.swiftLanguageMode(.v6)],
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ]
)
