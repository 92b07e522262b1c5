/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/tls.h"

#ifdef DR_HAVE_TLS

#include "store/wait.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <hiredis/hiredis_ssl.h>

bool dr_tls_is_there(void)
{
	return true;
}

static void tls_freep(SSL **tls)
{
	SSL_free(*tls);
}

static void tls_context_freep(SSL_CTX **context)
{
	SSL_CTX_free(*context);
}

/* For a key that is encrypted: nobody is there to be asked. */
static int no_passphrase(char *buf, int size, int is_writing, void *arg)
{
	(void)is_writing, (void)arg;
	if (size > 0) {
		buf[0] = '\0';
	}
	return -1;
}

static int bad_file(const char *what, const char *path, char **ret_message)
{
	const char *reason = access(path, R_OK) < 0
				     ? strerrordesc_np(errno)
				     : ERR_reason_error_string(ERR_peek_last_error());

	*ret_message = dr_xasprintf("%s %s: %s", what, path, reason ? reason : "cannot be used");
	return -ENOENT;
}

static int load_files(SSL_CTX *context, const struct dr_url *url, char **ret_message)
{
	const char *key = url->tls_key ? url->tls_key : url->tls_cert; /* one file may hold both */

	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	if (!url->tls_ca && !SSL_CTX_set_default_verify_paths(context)) {
		*ret_message = dr_xstrdup("the system's CA certificates cannot be read");
		return -ENOENT;
	}
	if (url->tls_ca && !SSL_CTX_load_verify_locations(context, url->tls_ca, NULL)) {
		return bad_file("tls_ca", url->tls_ca, ret_message);
	}
	if (url->tls_cert && SSL_CTX_use_certificate_chain_file(context, url->tls_cert) != 1) {
		return bad_file("tls_cert", url->tls_cert, ret_message);
	}
	/* This refuses a key that is not the certificate's, too. */
	if (key && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
		return bad_file("tls_key", key, ret_message);
	}
	return 0;
}

/* The certificate must be for the host that the URL names, whatever address that has. */
static bool expect_host(SSL *tls, char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(tls);
	struct in6_addr literal;

	if (inet_pton(AF_INET, host, &literal) == 1 || inet_pton(AF_INET6, host, &literal) == 1) {
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	}
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1;
}

int dr_tls_explain(char **ret_message)
{
	unsigned long error = ERR_peek_last_error();
	const char *text = error ? ERR_reason_error_string(error) : NULL;

	if (!text || ERR_GET_LIB(error) != ERR_LIB_SSL) {
		return 0;
	}
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		*ret_message = dr_xstrdup("the server closed the connection");
		return -ENOTCONN;
	}
#endif
	/* Numbers from there on are what the server said. */
	if (ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET) {
		*ret_message = dr_xasprintf("the server refuses TLS with this host: %s", text);
		return -EACCES;
	}
	*ret_message = dr_xasprintf("TLS: %s", text);
	return -EPROTO;
}

/*
 * Gives the connection to hiredis, which would bound each read of the handshake, and not the whole: so it is told that
 * the socket does not block, begins, and leaves the rest to be done here.
 * @return SSL_ERROR_NONE, or what SSL_get_error() says
 */
static int shake_hands(redisContext *redis, SSL *tls, unsigned ms)
{
	uint64_t until_ns = dr_now_ns() + (uint64_t)ms * 1000000u;
	int flags = fcntl(redis->fd, F_GETFL);
	int state = SSL_ERROR_NONE;

	(void)fcntl(redis->fd, F_SETFL, flags | O_NONBLOCK);
	redis->flags &= ~REDIS_BLOCK;
	errno = 0;
	if (redisInitiateSSL(redis, tls) != REDIS_OK) {
		return SSL_get_error(tls, -1);
	}
	(void)SSL_up_ref(tls); /* hiredis owns one, from now on only */
	for (;;) {
		errno = 0;
		int n = SSL_do_handshake(tls);

		state = n == 1 ? SSL_ERROR_NONE : SSL_get_error(tls, n);
		if (state != SSL_ERROR_WANT_READ && state != SSL_ERROR_WANT_WRITE) {
			break;
		}
		if (dr_wait_fd(redis->fd, state == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN,
			    until_ns) < 0) {
			break;
		}
	}
	redis->flags |= REDIS_BLOCK;
	(void)fcntl(redis->fd, F_SETFL, flags);
	return state;
}

int dr_tls_start(redisContext *redis, const struct dr_url *url, unsigned ms, char **ret_message)
{
	SSL_CTX *context dr_cleanup(tls_context_freep) = SSL_CTX_new(TLS_client_method());

	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
		*ret_message = dr_xstrdup("OpenSSL does not start");
		return -ENOTCONN;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	int r = load_files(context, url, ret_message);

	if (r < 0) {
		return r;
	}
	SSL *tls dr_cleanup(tls_freep) = SSL_new(context);

	if (!tls || !expect_host(tls, url->hosts[0].name)) {
		*ret_message = dr_xstrdup("OpenSSL takes no such host name");
		return -EPROTO;
	}
	ERR_clear_error();
	int state = shake_hands(redis, tls, ms);
	int error = errno;
	long verdict = SSL_get_verify_result(tls);

	if (state == SSL_ERROR_NONE) {
		return 0;
	}
	if (verdict != X509_V_OK) {
		*ret_message = dr_xasprintf(
			"the server's certificate: %s", X509_verify_cert_error_string(verdict));
		return -EPROTO;
	}
	if (state == SSL_ERROR_WANT_READ || state == SSL_ERROR_WANT_WRITE) {
		*ret_message = dr_xasprintf("no TLS within %u ms", ms);
		return -ENOTCONN;
	}
	r = dr_tls_explain(ret_message);
	if (r == 0) {
		*ret_message = dr_xasprintf(
			"TLS: %s", error ? strerrordesc_np(error) : "the server hung up");
		r = -ENOTCONN;
	}
	return r;
}

#else

bool dr_tls_is_there(void)
{
	return false;
}

int dr_tls_start(redisContext *redis, const struct dr_url *url, unsigned ms, char **ret_message)
{
	(void)redis, (void)url, (void)ms;
	*ret_message = dr_xstrdup("this build has no TLS");
	return -EPROTONOSUPPORT;
}

int dr_tls_explain(char **ret_message)
{
	(void)ret_message;
	return 0;
}

#endif
