// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Reactor
import Testing

@Suite struct SocketAddressTests {
    @Test(arguments: [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("255.255.255.255:65535", "255.255.255.255:65535"),
        ("[::1]:80", "[::1]:80"),
        ("[::]:8443", "[::]:8443"),
        ("[2001:DB8:0:0:1:0:0:1]:1", "[2001:db8::1:0:0:1]:1"),
        ("[2001:db8:0:1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1"),
        ("[1:0:0:2:0:0:0:3]:9", "[1:0:0:2::3]:9"),
        ("[1:2:3:4:5:6::]:9", "[1:2:3:4:5:6::]:9"),
        ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
        ("[fe80::1%7]:80", "[fe80::1%7]:80"),
        ("unix:/run/holdfast.sock", "unix:/run/holdfast.sock"),
    ])
    func parsesAndPrints(text: String, printed: String) {
        #expect(SocketAddress.parse(text)?.description == printed)
    }

    @Test(arguments: [
        "", ":80", "80", "localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
        "127.0.0.1: 80", "127.0.0:80", "127.0.0.1.2:80", "127.0.0.256:80", "127.0.0.01:80", "0x7f.0.0.1:80", "127.0.0.1:0x50",
        "::1:80", "[::1]", "[::1:80", "[127.0.0.1]:80", "[::g]:80", "[fe80::1%nosuchinterface]:80", "unix:",
        "unix:/" + String(repeating: "x", count: 107), "127.0.0.1:99999999999999999999", "127.0.0.\u{0661}:80",
    ])
    func refuses(text: String) {
        #expect(SocketAddress.parse(text) == nil)
    }

    @Test func writesTheHostWithoutItsPort() {
        for (text, host) in [("10.0.0.1:80", "10.0.0.1"), ("[::ffff:1.2.3.4]:1", "1.2.3.4"), ("[::1]:80", "::1")] {
            var buffer = ByteBuffer()
            SocketAddress.parse(text)?.writeHost(into: &buffer)
            let written = buffer.withReadable { span in String(decoding: (0..<span.count).map { span[$0] }, as: UTF8.self) }
            #expect(written == host)
        }
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.1.2", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ("::ffff:10.0.0.0/104", "10.9.9.9", true),
        ("::ffff:10.0.0.0/104", "11.9.9.9", false),
        ("0.0.0.0/0", "9.9.9.9", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "::1", true),
        ("::/0", "1.2.3.4", false),
        ("192.168.1.7", "192.168.1.7", true),
        ("192.168.1.7", "192.168.1.6", false),
        ("192.168.1.7/24", "192.168.1.200", true),
        ("192.168.1.7/32", "192.168.1.6", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("2001:db8::/64", "2001:db8::ffff:1", true),
        ("2001:db8::/65", "2001:db8::8000:0:0:1", false),
        ("2001:db8::1/128", "2001:db8::1", true),
        ("2001:db8::1/128", "2001:db8::2", false),
    ])
    func matchesPrefixes(prefix: String, host: String, contains: Bool) throws {
        let block = try #require(AddressPrefix(prefix))
        let address = try #require(SocketAddress.parse(host: host, port: 1))
        #expect(block.contains(address) == contains)
    }

    @Test(arguments: ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "x/8", "10.0.0.0/8/8", "unix:/x"])
    func refusesPrefixes(text: String) {
        #expect(AddressPrefix(text) == nil)
    }

    @Test func pathsAreInNoPrefix() throws {
        let path = try #require(SocketAddress.parse("unix:/tmp/x"))
        #expect(AddressPrefix("0.0.0.0/0")?.contains(path) == false)
        #expect(AddressPrefix("::/0")?.contains(path) == false)
    }

    @Test func printsPrefixesMasked() {
        #expect(AddressPrefix("10.1.2.3/8")?.description == "10.0.0.0/8")
        #expect(AddressPrefix("2001:db8:1::/32")?.description == "2001:db8::/32")
    }

    @Test func explainsErrors() {
        let low = SocketAddress.parse("0.0.0.0:80")
        #expect(
            NetworkError(.listen, low, errno: 13).description
                == "cannot listen on 0.0.0.0:80: permission denied (a port below 1024 needs root or CAP_NET_BIND_SERVICE)")
        #expect(
            NetworkError(.listen, SocketAddress.parse("127.0.0.1:8080"), errno: 98).description
                == "cannot listen on 127.0.0.1:8080: the address is in use by another process")
        #expect(NetworkError(.connect, nil, errno: 24).isLocal)
        #expect(!NetworkError(.connect, nil, errno: 111).isLocal)
    }
}
