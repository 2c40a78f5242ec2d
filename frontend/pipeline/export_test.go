// SPDX-License-Identifier: Apache-2.0

package pipeline

// Keys returns the names of the keys that the parser knows, by the JSON pointer
// of their mapping in the schema.
func Keys() map[string][]string {
	return map[string][]string{
		"":                                   names(pipelineKeys),
		"/properties/attestation":            names(attestationKeys),
		"/properties/cache":                  names(cacheKeys),
		"/$defs/limits":                      names(limitKeys),
		"/$defs/network":                     names(networkKeys),
		"/$defs/secret":                      names(secretKeys),
		"/$defs/step":                        append(names(stepKeys), "name"),
		"/$defs/step/properties/attestation": names(stepAttestationKeys),
	}
}
