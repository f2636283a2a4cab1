// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gateway

func address(_ text: String) -> IPAddress? {
    let bytes = Array(text.utf8)
    return IPAddress.parse(bytes.span)
}

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("1.2.3.4", "1.2.3.4"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::", "::"), ("::1", "::1"),
        ("1::", "1::"), ("2001:DB8::1", "2001:db8::1"), ("2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"), ("0:0:0:1::", "0:0:0:1::"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("::FFFF:c000:201", "192.0.2.1"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("::1.2.3.4", "::102:304"), ("fe80::1:2", "fe80::1:2"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("0:0:1::1:0:0", "::1:0:0:1:0:0"),
    ])
    func readsAndWrites(text: String, wanted: String) {
        #expect(address(text)?.description == wanted)
        #expect(address(wanted) == address(text))
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4 ", "a.b.c.d",
        "1.2.3.4:80",
        ":", ":::", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "::g", "1:", ":1", "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4:1", "fe80::1%eth0", "[::1]", "::ffff:01.2.3.4",
        "1.2.3.4::",
        "::00001", "99999999999.1.1.1", "1:2:3:4:5:6:7:", "4294967296",
    ])
    func refuses(text: String) {
        #expect(address(text) == nil)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.1.2.3/8", "10.9.9.9", true),
        ("10.0.0.1", "10.0.0.1", true), ("10.0.0.1", "10.0.0.2", false), ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ("0.0.0.0/0", "1.2.3.4", true), ("0.0.0.0/0", "2001:db8::1", false), ("::/0", "1.2.3.4", true),
        ("2001:db8::/32", "2001:db8:ffff::", true),
        ("2001:db8::/32", "2001:db9::", false), ("::1", "::1", true), ("::ffff:0:0/96", "9.9.9.9", true),
        ("10.0.0.0/31", "10.0.0.1", true),
        ("fe80::/10", "febf::1", true), ("fe80::/10", "fec0::1", false),
    ])
    func contains(network: String, text: String, wanted: Bool) {
        #expect(IPNetwork(network).flatMap { net in address(text).map { net.contains($0) } } == wanted)
    }

    @Test(arguments: [
        "", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "a/8", "10.0.0.0/ 8", "::/0128",
    ])
    func refusesNetworks(text: String) {
        #expect(IPNetwork(text) == nil)
    }

    @Test func whatIsWrittenIsReadAgain() {
        let seed = testSeed(0x1b)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5_000 {
            var bits: UInt128 = 0
            for _ in 0..<8 {
                bits = bits << 16 | (Bool.random(using: &random) ? 0 : UInt128(UInt16.random(in: 0...(.max), using: &random)))
            }
            let given = IPAddress(bits: bits)
            #expect(address(given.description) == given, "HOLDFAST_SEED=\(seed) \(given)")
        }
    }
}
