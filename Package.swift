// swift-tools-version: 6.2
// Holdfast
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error),
        .enableExperimentalFeature("Lifetimes"),
    ]
    + ["InternalImportsByDefault", "MemberImportVisibility", "ExistentialAny", "NonisolatedNonsendingByDefault"]
    .map { .enableUpcomingFeature($0) }

/// A module of the product; its tests are in `Tests/<name>Tests`. The list below is the architecture, bottom to top.
func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")

let package = Package(
    name: "holdfast",
    products: [
        .executable(name: "holdfast", targets: ["holdfast"]),
        .library(name: "Resilience", targets: ["Resilience"]),
        // The guard for any Swift service; nothing inside Holdfast imports it.
        .library(name: "ResilienceAsync", targets: ["ResilienceAsync"]),
        // The guard on real threads and its seam against a model; depends on Resilience alone, so that it builds quickly.
        .executable(name: "resilience-stress", targets: ["ResilienceStress"]),
        // To be embedded, with filters of the embedding program.
        .library(name: "Gateway", targets: ["Gateway", "Configuration"]),
        // For benchmarks/ alone: a nested package sees products only.
        .library(name: "_HoldfastBenchmarks", targets: ["HoldfastBenchmarks"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CCAres", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
        .systemLibrary(name: "CHiredis", pkgConfig: "hiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CBrotli", pkgConfig: "libbrotlienc", providers: [.apt(["libbrotli-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),

        module("Core", []),
        module("Compression", ["Core", "CZlib", "CBrotli", "CZstd"]),
        module("RateLimits", ["Core", "CHiredis"]),
        module("Resilience", ["Core", deque]),
        module("ResilienceAsync", ["Resilience", "Core"]),
        .executableTarget(name: "ResilienceStress", dependencies: ["Core", "Resilience"], swiftSettings: strict),
        module("TLS", ["Core", "COpenSSL"]),
        module("Credentials", ["Core", "COpenSSL", "JSON"]),
        module("HTTP", ["Core", "CNGHTTP2"]),
        module("Reactor", ["Core", "CLinux", "CCAres", deque]),
        module("Caching", ["Core", "HTTP"]),
        module("Telemetry", ["Core"]),
        module("JSON", ["Core"]),
        module("Transport", ["Core", "Reactor", "TLS", "HTTP", "Telemetry"]),
        module("Upstream", ["Core", "Reactor", "TLS", "HTTP", "Transport", "Resilience", "Telemetry", deque]),
        module("Configuration", ["Core", "Resilience", "JSON", yams]),
        module(
            "Gateway",
            [
                "Core", "Caching", "Compression", "Credentials", "JSON", "RateLimits", "Reactor", "TLS", "HTTP", "Transport",
                "Upstream",
                "Resilience", "Configuration", "Telemetry", deque,
            ]),
        module(
            "Admin",
            ["Core", "Caching", "Reactor", "HTTP", "Transport", "Upstream", "Resilience", "Telemetry", "Configuration", "Gateway"]),
        module(
            "HoldfastBenchmarks", ["Core", "Reactor", "TLS", "HTTP", "Caching", "Transport", "Upstream", "Gateway", "Resilience"]),
        .executableTarget(
            name: "holdfast",
            dependencies: [
                "Core", "Credentials", "JSON", "Reactor", "TLS", "HTTP", "Transport", "Upstream", "Resilience", "Configuration",
                "Telemetry", "Gateway", "Admin", arguments,
            ],
            swiftSettings: strict),

        // Sees what a program outside the package sees.
        .executableTarget(
            name: "AuditFilter", dependencies: ["Gateway", "Configuration"], path: "Examples/AuditFilter",
            exclude: ["gateway.yaml"], packageAccess: false, swiftSettings: [.swiftLanguageMode(.v6)]),

        tests("Core", ["Core"]),
        tests("Compression", ["Compression", "Core"]),
        tests("RateLimits", ["RateLimits", "Core"]),
        tests("Resilience", ["Resilience", "Core"]),
        tests("ResilienceAsync", ["ResilienceAsync", "Resilience", "Core"]),
        tests("ResilienceStress", ["ResilienceStress", "Resilience"]),
        tests("TLS", ["TLS", "Core", "COpenSSL"]),
        // Signs tokens for tests, right ones and wrong ones.
        .target(
            name: "TokenIssuer", dependencies: ["Credentials", "COpenSSL"], path: "Tests/TokenIssuer", swiftSettings: strict),
        tests("Credentials", ["Credentials", "Core", "TokenIssuer"]),
        tests("HTTP", ["HTTP", "Core"]),
        tests("Reactor", ["Reactor", "Core"]),
        tests("Caching", ["Caching", "HTTP", "Core"]),
        tests("Telemetry", ["Telemetry", "Core"]),
        tests("JSON", ["JSON", "Core"]),
        tests("Transport", ["Transport", "Reactor", "TLS", "HTTP", "Core", "Telemetry"]),
        tests("Upstream", ["Upstream", "Transport", "Reactor", "TLS", "HTTP", "Resilience", "Core", "Telemetry"]),
        tests("Configuration", ["Configuration", "Resilience", "Core", "JSON"]),
        tests(
            "Admin",
            [
                "Admin", "Gateway", "Configuration", "Upstream", "Transport", "Reactor", "TLS", "HTTP", "Resilience", "Core",
                "Telemetry",
            ]),
        tests(
            "Gateway",
            [
                "Gateway", "Caching", "Credentials", "TokenIssuer", "JSON", "RateLimits", "Configuration", "Upstream", "Transport",
                "Reactor", "TLS", "HTTP", "Resilience", "Core", "Telemetry",
            ]),
        tests("EndToEnd", ["AuditFilter"], exclude: ["Support"]),
    ]
)
