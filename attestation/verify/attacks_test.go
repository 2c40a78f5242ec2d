// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"encoding/hex"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/receipt/receipttest"
)

// claiming signs in another key's name.
type claiming struct {
	keys.Signer
	public keys.Public
}

func (c claiming) Public() keys.Public { return c.public }

// resigned changes the receipt's facts and signs them with the believed key: what
// a careless or bribed builder would hand out.
func resigned(change func(s *scene)) func(s *scene) {
	return func(s *scene) { change(s); s.sign(receipttest.Key(1)) }
}

// edited changes the document's text under its old signature.
func edited(old, new string) func(s *scene) {
	return func(s *scene) { s.edit(old, new) }
}

// attacks are the ways to cheat, and the check that must stop each. They are
// written to testdata/vectors, for other implementations as well, and run from
// there.
var attacks = []struct {
	name   string
	what   string
	expect string // names of checks
	says   string // is in what the failed checks say
	do     func(s *scene)
}{
	// Who signed.
	{"unsigned", "nobody signed", "signature", "not signed", func(s *scene) {
		s.r.Signature, s.r.SignerPublicKey = "", ""
		s.marshal()
	}},
	{"other_key", "signed by a key that nobody believes, which the receipt names", "signature", "not believed", func(s *scene) { s.sign(receipttest.Key(2)) }},
	{"claimed_key", "signed by another key in the believed key's name", "signature", "not made by", func(s *scene) {
		s.sign(claiming{receipttest.Key(2), receipttest.Key(1).Public()})
	}},
	{"claimed_other", "signed by the believed key in another's name", "signature", "not believed", func(s *scene) {
		s.sign(claiming{receipttest.Key(1), receipttest.Key(2).Public()})
	}},
	{"small_order_key", "a key under which one signature fits every message", "signature", "not believed", func(s *scene) {
		identity := "01" + strings.Repeat("00", 31)
		s.r.SignerPublicKey, s.r.Signature = "ed25519:"+identity, "ed25519:"+identity+strings.Repeat("00", 32)
		s.marshal()
	}},
	{"replayed_signature", "the signature of another receipt by the same key", "signature", "not made by", func(s *scene) {
		s.r.Version = "0.0.1"
		s.sign(receipttest.Key(1))
		s.r.Version = "0.1.0"
		s.marshal()
	}},
	{"second_signature", "the same signature with the group's order added to S", "signature", "not made by", func(s *scene) {
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		sig, err := hex.DecodeString(strings.TrimPrefix(s.r.Signature, "ed25519:"))
		s.do(err)
		slices.Reverse(sig[32:])
		new(big.Int).Add(new(big.Int).SetBytes(sig[32:]), order).FillBytes(sig[32:])
		slices.Reverse(sig[32:])
		s.r.Signature = "ed25519:" + hex.EncodeToString(sig)
		s.marshal()
	}},

	// What is signed.
	{"step_removed", "a step is gone", "signature", "", func(s *scene) { s.r.Steps = s.r.Steps[:1]; s.marshal() }},
	{"step_added", "a step more", "signature", "", func(s *scene) {
		more := s.r.Steps[1]
		more.Name = "audit"
		s.r.Steps = append(s.r.Steps, more)
		s.marshal()
	}},
	{"step_renamed", "a step has another name", "signature", "", edited(`name: "test"`, `name: "audit"`)},
	{"steps_swapped", "two steps in another order", "signature", "", func(s *scene) { slices.Reverse(s.r.Steps); s.marshal() }},
	{"step_repeated", "a step twice", "format", "two steps", func(s *scene) {
		i := strings.Index(string(s.data), `  - name: "test"`)
		j := strings.Index(string(s.data), "signature: ")
		s.data = slices.Concat(s.data[:j], s.data[i:j], s.data[j:])
	}},
	{"swapped_outputs", "two outputs exchanged, on disk and in the receipt", "signature", "", func(s *scene) {
		receipttest.Record(s, s.dir, s.r, 1, []string{"dist/app"}, []string{"dist/doc/a.txt", "dist/doc/b.txt"})
		s.sign(receipttest.Key(1))
		s.write("dist/doc/a.txt", "beta\n")
		s.write("dist/doc/b.txt", "alpha\n")
		receipttest.Record(s, s.dir, s.r, 0, []string{"README.md", "src"}, []string{"dist"})
		receipttest.Record(s, s.dir, s.r, 1, []string{"dist/app"}, []string{"dist/doc/a.txt", "dist/doc/b.txt"})
		s.marshal()
	}},
	{"time_changed", "an older run dressed as a newer one", "signature", "", edited("2026-12-01", "2026-12-02")},
	{"command_changed", "another command", "signature", "", edited("make test", "true # st")},

	// What happened.
	{"failed_run", "a failed run, properly signed", "run", "marked failed", resigned(func(s *scene) { s.r.Status = receipt.Failed })},
	{"interrupted_run", "an interrupted run, properly signed", "run", "marked interrupted", resigned(func(s *scene) { s.r.Status = receipt.Interrupted })},
	{"failed_step", "a run that succeeded with a step that did not", "run", `"test" is marked failed`, resigned(func(s *scene) { s.r.Steps[1].Status = receipt.Failed })},
	{"skipped_step", "a run that succeeded with a step that was skipped", "run", `"test" is marked skipped`, resigned(func(s *scene) { s.r.Steps[1].Status = receipt.Skipped })},
	{"exit_code", "a step that succeeded with exit code 1", "run", "exit code 1", resigned(func(s *scene) { s.r.Steps[1].ExitCode = 1 })},
	{"not_reproduced", "a step that succeeded and left something else the second time", "run", `"test" did not`, resigned(func(s *scene) {
		s.r.Steps[1].Reproduction = &receipt.Reproduction{Verdict: receipt.Different, Differences: []receipt.Difference{{Path: "report.txt", Offset: 1, Cause: "random"}}}
	})},
	{"failed_relabelled", "a failed run that is called successful after it was signed", "signature", "", func(s *scene) {
		s.r.Status = receipt.Failed
		s.sign(receipttest.Key(1))
		s.edit("status: failed", "status: succeeded")
	}},

	// How it is written.
	{"trailing_bytes", "bytes after the document", "format", "out of place", func(s *scene) { s.data = append(s.data, "x\n"...) }},
	{"second_document", "a second YAML document", "format", "out of place", func(s *scene) { s.data = append(s.data, "---\nstatus: failed\n"...) }},
	{"unknown_field", "a key that does not exist", "format", `"approved"`, edited("\nsteps:\n", "\napproved: true\nsteps:\n")},
	{"duplicate_key", "a key twice", "format", `"status"`, edited("\nstatus: succeeded\n", "\nstatus: failed\nstatus: succeeded\n")},
	{"recased_key", "a key in another case", "format", `"Status"`, edited("\nstatus: succeeded\n", "\nStatus: succeeded\n")},
	{"reordered_keys", "keys in another order", "format", "out of place", edited("attest_version: \"0.1.0\"\nstatus: succeeded\n", "status: succeeded\nattest_version: \"0.1.0\"\n")},
	{"respaced", "more space than there should be", "format", "", edited("status: succeeded", "status:  succeeded")},
	{"comment", "a comment, which nobody signed", "format", "", edited("status: succeeded\n", "status: succeeded # really\n")},
	{"escaped", "another spelling of a string", "format", "canonical", edited(`"make"`, `"\u006dake"`)},
	{"number_spelling", "another spelling of a number", "format", "canonical", edited("total_duration_secs: 1.5\n", "total_duration_secs: 1.50\n")},
	{"uppercase_signature", "another spelling of the signature", "format", "signature", func(s *scene) {
		s.edit(s.r.Signature[8:], strings.ToUpper(s.r.Signature[8:]))
	}},
	{"crlf", "other line ends", "format", "", func(s *scene) { s.data = []byte(strings.ReplaceAll(string(s.data), "\n", "\r\n")) }},
	{"newer_schema", "a receipt from a newer version", "format", "upgrade attest", edited("attest.receipt/v1", "attest.receipt/v2")},
	{"other_schema", "something else altogether", "format", "want schema", edited("attest.receipt/v1", "example.receipt/v1")},
	{"yaml_anchor", "an anchor and an alias", "format", "", edited("name: demo", "name: &a demo")},
	{"yaml_merge", "a merge key", "format", "", edited("    status: succeeded\n", "    <<: {status: failed}\n    status: succeeded\n")},
	{"path_parent", "a path that leaves the project", "format", "clean relative path", edited(`"report.txt"`, `"../report.txt"`)},
	{"path_absolute", "a path from the root", "format", "clean relative path", edited(`"report.txt"`, `"/etc/hosts"`)},
	{"path_dots", "a path with a detour", "format", "clean relative path", edited(`"report.txt"`, `"dist/../report.txt"`)},
	{"path_twice", "one file twice", "format", "out of order", func(s *scene) {
		i := strings.Index(string(s.data), `      - {path: "README.md"`)
		j := strings.Index(string(s.data), `      - {path: "src/"`)
		s.data = slices.Concat(s.data[:i], s.data[i:j], s.data[i:])
	}},

	// The pipeline.
	{"pipeline_changed", "another pipeline than the one that ran", "pipeline", "want blake3:", func(s *scene) { s.write("attest.yaml", "version: \"0.1\"\nname: demo\nsteps: []\n") }},
	{"pipeline_missing", "no pipeline", "pipeline", "no such file", func(s *scene) { s.do(os.Remove(s.path("attest.yaml"))) }},
	{"pipeline_fifo", "a FIFO for a pipeline", "pipeline", "special file", func(s *scene) {
		s.do(os.Remove(s.path("attest.yaml")), syscall.Mkfifo(s.path("attest.yaml"), 0o600))
	}},
	{"pipeline_outside", "a link out of the project for a pipeline", "pipeline", "escapes", func(s *scene) {
		s.do(os.Remove(s.path("attest.yaml")), os.Symlink("../attest.yaml", s.path("attest.yaml")))
	}},

	// The files.
	{"input_changed", "a changed input", "files", "changed src/main.c (input of build)", func(s *scene) { s.write("src/main.c", "int main(void) { return 7; }\n") }},
	{"input_same_size", "a changed input of the same size", "files", "changed src/main.c", func(s *scene) { s.write("src/main.c", "int main(void) { return 1; }\n") }},
	{"single_input_changed", "a changed input that stands singly", "files", "changed README.md", func(s *scene) { s.write("README.md", "# other\n") }},
	{"input_added", "a file more in an input folder", "files", "added src/extra.c", func(s *scene) { s.write("src/extra.c", "") }},
	{"input_removed", "a file less in an input folder", "files", "removed src/lib/util.c", func(s *scene) { s.do(os.Remove(s.path("src/lib/util.c"))) }},
	{"input_executable", "an input that may be executed now", "files", "mode src/main.c", func(s *scene) { s.do(os.Chmod(s.path("src/main.c"), 0o755)) }},
	{"empty_folder_filled", "a file in a folder that was empty", "files", "added src/empty/x", func(s *scene) { s.write("src/empty/x", "") }},
	{"empty_folder_removed", "an empty folder less", "files", "removed src/empty/", func(s *scene) { s.do(os.Remove(s.path("src/empty"))) }},
	{"link_retargeted", "a symbolic link that points elsewhere", "files", "changed src/current", func(s *scene) {
		s.do(os.Remove(s.path("src/current")), os.Symlink("empty", s.path("src/current")))
	}},
	{"contents_swapped", "two files with each other's content", "files", "changed dist/doc/a.txt", func(s *scene) {
		s.write("dist/doc/a.txt", "beta\n")
		s.write("dist/doc/b.txt", "alpha\n")
	}},
	{"boundary_moved", "content moved from one file to the next", "files", "changed dist/doc/a.txt", func(s *scene) {
		s.write("dist/doc/a.txt", "alph")
		s.write("dist/doc/b.txt", "a\nbeta\n")
	}},
	{"case_renamed", "a name in another case", "files", "added src/Main.c", func(s *scene) { s.do(os.Rename(s.path("src/main.c"), s.path("src/Main.c"))) }},
	{"output_changed", "a changed output", "files", "changed report.txt (output of test)", func(s *scene) { s.write("report.txt", "all is lost\n") }},
	{"output_removed", "an output that is gone", "files", "removed report.txt", func(s *scene) { s.do(os.Remove(s.path("report.txt"))) }},
	{"output_executable", "an output that may be executed now", "files", "mode report.txt", func(s *scene) { s.do(os.Chmod(s.path("report.txt"), 0o755)) }},
	{"outputs_gone", "a folder of outputs that is gone", "files", "removed dist/ (output of build)", func(s *scene) { s.do(os.RemoveAll(s.path("dist"))) }},
	{"link_for_file", "a symbolic link to the same content in place of a file", "files", "kind report.txt", func(s *scene) {
		s.do(os.Rename(s.path("report.txt"), s.path("copy.txt")), os.Symlink("copy.txt", s.path("report.txt")))
	}},
	{"link_in_folder", "the same within a folder", "files", "kind dist/doc/a.txt", func(s *scene) {
		s.do(os.Rename(s.path("dist/doc/a.txt"), s.path("a.txt")), os.Symlink("../../a.txt", s.path("dist/doc/a.txt")))
	}},
	{"link_for_folder", "a symbolic link to the same folder in place of a folder", "files", "kind src/", func(s *scene) {
		s.do(os.Rename(s.path("src"), s.path("elsewhere")), os.Symlink("elsewhere", s.path("src")))
	}},
	{"link_above_file", "a symbolic link in the middle of a path", "files", "below a symbolic link (dist)", func(s *scene) {
		receipttest.Record(s, s.dir, s.r, 0, nil, nil)
		receipttest.Record(s, s.dir, s.r, 1, []string{"dist/app"}, nil)
		s.sign(receipttest.Key(1))
		s.do(os.Rename(s.path("dist"), s.path("elsewhere")), os.Symlink("elsewhere", s.path("dist")))
	}},
	{"link_outside", "a symbolic link out of the project in place of a file", "files", "kind report.txt", func(s *scene) {
		s.do(os.Remove(s.path("report.txt")), os.Symlink("/etc/hosts", s.path("report.txt")))
	}},
	{"file_for_link", "a file with a link's target for content", "files", "kind dist/latest", func(s *scene) {
		s.do(os.Remove(s.path("dist/latest")))
		s.write("dist/latest", "app\n")
	}},
	{"folder_for_file", "a folder in place of a file", "files", "kind report.txt", func(s *scene) {
		s.do(os.Remove(s.path("report.txt")))
		s.write("report.txt/x", "")
	}},
	{"file_for_folder", "a file in place of a folder", "files", "kind src/", func(s *scene) {
		s.do(os.RemoveAll(s.path("src")))
		s.write("src", "")
	}},
	{"fifo_for_file", "a FIFO in place of a file", "files", "kind report.txt", func(s *scene) {
		s.do(os.Remove(s.path("report.txt")), syscall.Mkfifo(s.path("report.txt"), 0o600))
	}},
	{"fifo_in_folder", "a FIFO within a folder", "files", "FIFO", func(s *scene) { s.do(syscall.Mkfifo(s.path("src/pipe"), 0o600)) }},
	{"second_digest", "a SHA-256 that does not belong to the BLAKE3 digest beside it", "files", "want sha256:", resigned(func(s *scene) {
		s.r.Steps[1].Outputs[0].SHA256 = digest.OfSHA256([]byte("evil"))
	})},
	{"second_folder_digest", "the same for a folder", "files", "want sha256:", resigned(func(s *scene) {
		s.r.Steps[0].Outputs[0].SHA256 = digest.OfSHA256([]byte("evil"))
	})},
	{"two_contents", "one input with two contents in two steps", "files", "changed README.md", resigned(func(s *scene) {
		other := s.r.Steps[0].Inputs[0]
		other.Hash = digest.Of([]byte("other"))
		s.r.Steps[1].Inputs = append([]receipt.Path{other}, s.r.Steps[1].Inputs...)
	})},
	{"listing_missing", "a changed input, and nothing kept to tell which", "files", "changed src/ (input of build): want blake3:", func(s *scene) {
		s.do(os.RemoveAll(s.path(".attest")))
		s.write("src/main.c", "")
	}},
	{"listing_planted", "a changed input, and in place of the listing that was kept one that blames another file", "files", "changed src/ (input of build): want blake3:", func(s *scene) {
		then := s.r.Steps[0].Inputs[1].Hash.Hex()
		util, err := os.ReadFile(s.path("src/lib/util.c"))
		s.do(err)
		s.write("src/main.c", "")
		s.write("src/lib/util.c", "")
		fake := *s.r
		fake.Steps = slices.Clone(s.r.Steps)
		receipttest.Record(s, s.dir, &fake, 0, []string{"src"}, nil)
		s.write("src/lib/util.c", string(util))
		listings := ".attest/" + receipt.ListingsDir + "/"
		s.do(os.Rename(s.path(listings+fake.Steps[0].Inputs[0].Hash.Hex()), s.path(listings+then)))
	}},
	{"listing_lies", "a listing that its writer hashed with a wrong size in it, so that no file seems to differ", "files", "changed src/ (input of build): want blake3:", resigned(func(s *scene) {
		src := &s.r.Steps[0].Inputs[1]
		listings := ".attest/" + receipt.ListingsDir + "/"
		text, err := os.ReadFile(s.path(listings + src.Hash.Hex()))
		s.do(err)
		lie := strings.Replace(string(text), "f 0644 29 ", "f 0644 30 ", 1)
		src.Hash = digest.Of([]byte(lie))
		s.write(listings+src.Hash.Hex(), lie)
	})},

	// Several at once: all are reported.
	{"everything", "all at once", "run pipeline files signature", "", func(s *scene) {
		s.r.Status = receipt.Failed
		s.sign(receipttest.Key(2))
		s.write("attest.yaml", "")
		s.write("report.txt", "")
	}},
}
