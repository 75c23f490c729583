package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // legacy importers need it
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"hash"
	"math/big"
	"slices"

	"software.sslmate.com/src/go-pkcs12"
)

// profile is one way to encrypt a bundle: the library's encoder, and its parameters
// for withAlias.
type profile struct {
	encoder *pkcs12.Encoder
	hash    func() hash.Hash // used by the MAC and by derive
	cipher  func(p profile, parameters []byte, passphrase string) (cipher.Block, []byte, error)
}

// modern can be opened by OpenSSL 1.1.1, Java 8u301 and later versions. legacy can
// also be opened by Windows Server 2016 and macOS 14.
var (
	modern = profile{pkcs12.Modern2023, sha256.New, profile.aes256}
	legacy = profile{pkcs12.LegacyDES, sha1.New, profile.tripleDES}
)

// aes256 is PBES2 with PBKDF2, SHA-256 and AES-256 (RFC 8018, section 6.2).
func (profile) aes256(parameters []byte, passphrase string) (cipher.Block, []byte, error) {
	pbes2, err := decode[struct {
		KDF struct {
			ID         asn1.ObjectIdentifier
			Parameters struct {
				Salt       []byte
				Iterations int
				PRF        pkix.AlgorithmIdentifier
			}
		}
		Cipher struct {
			ID asn1.ObjectIdentifier
			IV []byte
		}
	}](parameters)
	if err != nil {
		return nil, nil, err
	}
	kdf := pbes2.KDF.Parameters
	key, err := pbkdf2.Key(sha256.New, passphrase, kdf.Salt, kdf.Iterations, 32)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	return block, pbes2.Cipher.IV, err
}

// tripleDES is PBE with SHA-1 and 3DES (RFC 7292, appendix C).
func (p profile) tripleDES(parameters []byte, passphrase string) (cipher.Block, []byte, error) {
	pbe, err := decode[struct {
		Salt       []byte
		Iterations int
	}](parameters)
	if err != nil {
		return nil, nil, err
	}
	block, err := des.NewTripleDESCipher(p.derive(forKey, passphrase, pbe.Salt, pbe.Iterations, 24)) //nolint:gosec // see above
	return block, p.derive(forIV, passphrase, pbe.Salt, pbe.Iterations, des.BlockSize), err
}

func encrypt(block cipher.Block, iv, plain []byte) []byte {
	padding := block.BlockSize() - len(plain)%block.BlockSize()
	ciphertext := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...) //nolint:gosec // at most one block
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(ciphertext, ciphertext)
	return ciphertext
}

func decrypt(block cipher.Block, iv, ciphertext []byte) ([]byte, error) {
	if len(ciphertext) == 0 || len(ciphertext)%block.BlockSize() != 0 {
		return nil, errors.New("the encrypted certificates are not a multiple of the block size")
	}
	plain := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, ciphertext)
	padding := int(plain[len(plain)-1])
	if padding > len(plain) {
		return nil, errors.New("the padding of the encrypted certificates is invalid")
	}
	return plain[:len(plain)-padding], nil
}

// The purposes of derived bytes (RFC 7292, appendix B.3).
const (
	forKey = 1
	forIV  = 2
	forMAC = 3
)

// hashBlock is the block size of SHA-1 and SHA-256, in bytes.
const hashBlock = 64

// derive is the key derivation of RFC 7292, appendix B.2. No library exports it. The
// size is in bytes.
func (p profile) derive(purpose byte, passphrase string, salt []byte, iterations, size int) (key []byte) {
	diversifier := bytes.Repeat([]byte{purpose}, hashBlock)
	input := append(fill(salt), fill(append(bmpString(passphrase), 0, 0))...)
	for {
		round := digest(p.hash(), diversifier, input)
		for range iterations - 1 {
			round = digest(p.hash(), round)
		}
		if key = append(key, round...); len(key) >= size {
			return key[:size]
		}
		step := new(big.Int).SetBytes(fill(round))
		step.Add(step, big.NewInt(1))
		for block := range slices.Chunk(input, hashBlock) {
			sum := new(big.Int).SetBytes(block)
			copy(block, sum.Add(sum, step).FillBytes(make([]byte, hashBlock+1))[1:])
		}
	}
}

// fill repeats the pattern until it fills whole blocks.
func fill(pattern []byte) []byte {
	size := (len(pattern) + hashBlock - 1) / hashBlock * hashBlock
	return bytes.Repeat(pattern, size/len(pattern)+1)[:size]
}

func digest(h hash.Hash, parts ...[]byte) []byte {
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}
