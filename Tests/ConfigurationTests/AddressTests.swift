// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

struct AddressTests {
    @Test(arguments: [
        ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::", "::"), ("::1", "::1"), ("1::", "1::"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("0:0:1::", "0:0:1::"),
        ("::ffff:10.0.0.1", "::ffff:a00:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("a::b:0:0:c", "a::b:0:0:c"),
    ])
    func literals(text: String, shown: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == shown)
        #expect(IPAddress(shown) == address)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1..2.3", "+1.2.3.4", ":", ":::", "1:2",
        "1:2:3:4:5:6:7:8:9", "::1::", "12345::", "g::",
        "1:2:3:4:5:6:7:8::", "::1.2.3", "1.2.3.4::", "fe80::1%eth0", "-1::", "1:2:3:4:5:6:7:1.2.3.4", "٠.0.0.0", "::+1",
    ])
    func noLiterals(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("0.0.0.0/0", "1.2.3.4", true), ("0.0.0.0/0", "::1", false), ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("::/0", "10.0.0.1", false),
        ("10.0.0.128/25", "10.0.0.127", false), ("10.0.0.128/25", "10.0.0.129", true), ("fd00::/8", "fdff::1", true),
        ("fd00::/8", "fe00::1", false),
    ])
    func networks(network: String, address: String, isInside: Bool) throws {
        #expect(try #require(IPNetwork(network)).contains(try #require(IPAddress(address))) == isInside)
    }

    @Test(arguments: [
        "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "/8", "10.0.0.0/8/8", "fd00::/129", "fd00::1/8", "10.0.0.0/-1", "10.0.0.0/+8",
        "10.0.0.0/8 ",
    ])
    func noNetworks(text: String) {
        #expect(IPNetwork(text) == nil)
    }

    @Test(arguments: [
        ("127.0.0.1:80", "127.0.0.1:80"), ("localhost:80", "127.0.0.1:80"), ("[::1]:443", "[::1]:443"), ("0.0.0.0:0", "0.0.0.0:0"),
        ("unix:/run/a.sock", "unix:/run/a.sock"), ("1.2.3.4:65535", "1.2.3.4:65535"),
    ])
    func addresses(text: String, shown: String) throws {
        #expect(try Addresses.parse(text, wildcardHint: true).description == shown)
    }

    @Test(arguments: [
        ("", "has no port"), ("80", "has no port"), ("::1:80", "has an IPv6 address without brackets, or two ports"),
        ("[::1]", "has no port"),
        ("[1.2.3.4]:80", "has no IPv6 address in its brackets"), ("1.2.3.4:", "has no port from 0 to 65535"),
        ("1.2.3.4:+1", "has no port from 0 to 65535"),
        ("unix:run/a", "is not an absolute path"), ("unix:/" + String(repeating: "x", count: 107), "is longer than 107 bytes"),
        ("users:80", "has a host name where an IP address is needed"),
        ("1.2.3:80", "has a host name where an IP address is needed"),
        ("us ers:80", "has no IP address"), ("*:80", "has no IP address; did you mean 0.0.0.0:80?"),
    ])
    func noAddresses(text: String, problem: String) {
        let error = #expect(throws: ScalarProblem.self) { try Addresses.parse(text, wildcardHint: true) }
        #expect(error?.problem == problem)
    }
}
