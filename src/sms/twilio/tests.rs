//! The dialect and the provider, from request to response, as the vendor's libraries write and read them.
