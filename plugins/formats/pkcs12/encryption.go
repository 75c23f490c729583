package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what older Windows reads
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

// profile is a way to encrypt a bundle: the library's encoder, and what withAlias
// must know of it.
type profile struct {
	encoder *pkcs12.Encoder
	hash    func() hash.Hash // of the MAC, and of derive
	cipher  func(p profile, parameters []byte, passphrase string) (cipher.Block, []byte, error)
}

// modern is what everything since OpenSSL 1.1.1 and Java 8u301 opens, legacy what
// Windows Server 2016 and macOS 14 open too.
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
	sealed := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...) //nolint:gosec // at most a block
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	return sealed
}

func decrypt(block cipher.Block, iv, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed)%block.BlockSize() != 0 {
		return nil, errors.New("the certificates are not whole blocks")
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, sealed)
	padding := int(plain[len(plain)-1])
	if padding > len(plain) {
		return nil, errors.New("the certificates are not padded")
	}
	return plain[:len(plain)-padding], nil
}

// What derive makes bytes for.
const (
	forKey = 1
	forIV  = 2
	forMAC = 3
)

// hashBlock is the block size of SHA-1 and SHA-256, in bytes.
const hashBlock = 64

// derive is the key derivation of RFC 7292, appendix B.2, which no library offers
// by itself.
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

// fill repeats the pattern up to whole blocks.
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
