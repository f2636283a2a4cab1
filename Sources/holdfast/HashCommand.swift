// Holdfast
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Credentials
import Glibc

/// What the files of credentials keep: hashes, never what clients show.
struct HashCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hash",
        abstract: "Make API keys, and the hashes by which keys and passwords are known.",
        discussion: """
            EXAMPLE
              holdfast hash key                     a new key, and the line for the keys file
              holdfast hash key --read < key.txt    the line for a key that exists
              holdfast hash password < secret.txt   the hash for the users file
            """,
        subcommands: [Key.self, Password.self])

    struct Key: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A new random key with its SHA-256, or the SHA-256 of one on standard input.")

        @Flag(help: "Read the key from standard input.") var read = false

        func run() throws {
            let key: String
            if read {
                key = try Input.line("key")
                // A short key can be guessed from a plain hash; a random one of 128 bits cannot.
                guard key.utf8.count >= HashCommand.leastKeyBytes, key.utf8.count <= APIKeys.longest else {
                    throw ValidationError(
                        "the key has \(key.utf8.count) characters; \(HashCommand.leastKeyBytes) to \(APIKeys.longest) are accepted, drawn at random (`holdfast hash key` makes one)"
                    )
                }
                guard Set(key.utf8).count >= 8, key.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
                    throw ValidationError("the key is not random text in ASCII; `holdfast hash key` makes one")
                }
            } else {
                guard let bytes = SecretBytes.random(24) else { throw ValidationError("the system has no random numbers to give") }
                key = "hf_" + Base64.encode(bytes, .url)
                print("key: \(key)")
            }
            print("- { sha256: \(Digest256.sha256(Array(key.utf8)).hexadecimal) }")
        }
    }

    struct Password: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The hash of the password on standard input.")

        @Option(help: "Rounds of PBKDF2-HMAC-SHA-256.") var rounds = PasswordHash.usualRounds

        func run() throws {
            let password = try Input.line("password")
            guard password.utf8.count >= 8 else { throw ValidationError("the password has fewer than 8 bytes") }
            guard (PasswordHash.leastRounds...PasswordHash.mostRounds).contains(rounds) else {
                throw ValidationError("rounds are from \(PasswordHash.leastRounds) to \(PasswordHash.mostRounds)")
            }
            guard let salt = SecretBytes.random(16) else { throw ValidationError("the system has no random numbers to give") }
            print(PasswordHash.make(Array(password.utf8), salt: salt, rounds: rounds).text)
        }
    }

    /// 128 bits in base64.
    static let leastKeyBytes = 22

    private enum Input {
        /// One line of standard input, without its end; not echoed by a terminal.
        static func line(_ what: String) throws -> String {
            var before = termios()
            let isTerminal = unsafe isatty(0) == 1 && tcgetattr(0, &before) == 0
            if isTerminal {
                var quiet = before
                quiet.c_lflag &= ~tcflag_t(ECHO)
                unsafe tcsetattr(0, TCSANOW, &quiet)
                print("\(what): ", terminator: "")
                fflush(nil)
            }
            defer {
                if isTerminal {
                    unsafe tcsetattr(0, TCSANOW, &before)
                    print("")
                }
            }
            guard let line = readLine(strippingNewline: true), !line.isEmpty else {
                throw ValidationError("there is no \(what) on standard input")
            }
            return line
        }
    }
}
