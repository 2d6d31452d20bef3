//! Event ports on Linux: the names of illumos' 64-bit interface, whose functions a test library
//! exports.

use libc::{c_int, c_uint, c_ushort, c_void, timespec, uintptr_t};

#[repr(C)]
#[derive(Copy, Clone)]
#[allow(non_camel_case_types)]
pub(crate) struct port_event {
    pub(crate) portev_events: c_int,
    pub(crate) portev_source: c_ushort,
    pub(crate) portev_pad: c_ushort,
    pub(crate) portev_object: uintptr_t,
    pub(crate) portev_user: *mut c_void,
}

extern "C" {
    pub(crate) fn port_create() -> c_int;
    pub(crate) fn port_associate(
        port: c_int,
        source: c_int,
        object: uintptr_t,
        events: c_int,
        user: *mut c_void,
    ) -> c_int;
    pub(crate) fn port_dissociate(port: c_int, source: c_int, object: uintptr_t) -> c_int;
    pub(crate) fn port_getn(
        port: c_int,
        list: *mut port_event,
        max: c_uint,
        count: *mut c_uint,
        timeout: *mut timespec,
    ) -> c_int;
    pub(crate) fn port_send(port: c_int, events: c_int, user: *mut c_void) -> c_int;
    pub(crate) fn port_alert(port: c_int, flags: c_int, events: c_int, user: *mut c_void) -> c_int;
}

pub(crate) const PORT_SOURCE_USER: c_int = 3;
pub(crate) const PORT_SOURCE_FD: c_int = 4;
pub(crate) const PORT_SOURCE_ALERT: c_int = 5;

pub(crate) const PORT_ALERT_SET: c_int = 1;
