// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Kind where Value == Address {
    private static var shape: Shape {
        .scalar(
            .string, pattern: #"^(unix:/.+|.+:[0-9]{1,5})$"#, meaning: "address, as `10.0.0.1:8443`, `[::1]:8443` or `unix:/path`")
    }

    /// Where to listen; port 0 lets the kernel choose.
    static var listening: Kind {
        .scalar(
            shape, expected: "an address to listen on, such as 0.0.0.0:8443, [::]:8443 or unix:/run/holdfast.sock",
            text: \.description
        ) {
            text throws(ScalarProblem) in
            try Addresses.parse(text, wildcardHint: true)
        }
    }

    /// Where to connect.
    static var endpoint: Kind {
        .scalar(shape, expected: "an address such as 10.0.0.1:9001, [fd00::1]:9001 or unix:/run/users.sock", text: \.description) {
            text throws(ScalarProblem) in
            let address = try Addresses.parse(text, wildcardHint: false, nameHint: "; a name goes into dns, in place of endpoints")
            if case .ip(_, port: 0) = address { throw ScalarProblem("has port 0") }
            return address
        }
    }
}

extension Kind where Value == Address {
    /// A name server; port 53 unless another is given.
    static var nameServer: Kind {
        .scalar(
            .scalar(.string, meaning: "IP address, with or without port, as `127.0.0.1:5353`"),
            expected: "an IP address, perhaps with a port, such as 10.0.0.2, 127.0.0.1:5353 or [fd00::1]:53", text: \.description
        ) { text throws(ScalarProblem) in
            if let address = IPAddress(text) { return .ip(address, port: 53) }
            let address = try Addresses.parse(text, wildcardHint: false)
            guard case .ip(_, let port) = address else { throw ScalarProblem("is a Unix socket") }
            if port == 0 { throw ScalarProblem("has port 0") }
            return address
        }
    }
}

extension Kind where Value == IPNetwork {
    static var network: Kind {
        .scalar(
            .scalar(.string, pattern: #"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"#, meaning: "network, as `10.0.0.0/8`"),
            expected: "a network such as 10.0.0.0/8 or fd00::/8, or one address", text: \.description
        ) { text throws(ScalarProblem) in
            guard let network = IPNetwork(text) else {
                let base = text.split(separator: "/").first.flatMap { IPAddress($0) }
                throw ScalarProblem(
                    base == nil ? "is no network" : "is no network: its prefix is too long, or bits are set behind it")
            }
            return network
        }
    }
}

/// How addresses are read.
enum Addresses {
    /// `sockaddr_un.sun_path` less its NUL (unix(7)).
    static let maximumSocketPathBytes = 107

    /// `nameHint`: what is said to somebody who gives a host name.
    static func parse(_ text: String, wildcardHint: Bool, nameHint: String = "") throws(ScalarProblem) -> Address {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst(5)
            guard path.hasPrefix("/") else { throw ScalarProblem("is not an absolute path") }
            guard path.utf8.count <= maximumSocketPathBytes else {
                throw ScalarProblem("is longer than \(maximumSocketPathBytes) bytes")
            }
            return .unix(String(path))
        }
        guard let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") else { throw ScalarProblem("has no port") }
        var host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits)
        else {
            throw ScalarProblem("has no port from 0 to 65535")
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard let address = IPAddress(host), !address.isIPv4 else { throw ScalarProblem("has no IPv6 address in its brackets") }
            return .ip(address, port: port)
        }
        if host.contains(":") { throw ScalarProblem("has an IPv6 address without brackets, or two ports") }
        if host == "localhost" { return .ip(IPAddress(127, 0, 0, 1), port: port) }
        if let address = IPAddress(host) { return .ip(address, port: port) }
        if wildcardHint, host.isEmpty || host == "*" { throw ScalarProblem("has no IP address; did you mean 0.0.0.0:\(port)?") }
        throw ScalarProblem(
            Words.isHostName(host) ? "has a host name where an IP address is needed\(nameHint)" : "has no IP address")
    }
}
