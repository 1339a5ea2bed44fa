package auth

// SetProofLimit sets how many proofs are remembered for one nonce.
func SetProofLimit(v *Verifier, n int) { v.nonces.limit = n }
