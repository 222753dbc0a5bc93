//! The functions of CUDA's runtime library that ONNX Runtime's API does not offer.
#![allow(unsafe_code)] // Calls into a C library.

use std::ffi::{c_int, c_void};
use std::fmt::Debug;
use std::sync::OnceLock;

use libloading::Library;
use ort::value::{PrimitiveTensorElementType, Tensor};

use crate::error::WITHOUT_CUDA;

/// The library that ONNX Runtime's CUDA provider is linked with; it is loaded once per process.
const NAME: &str = "libcudart.so.13";
/// `cudaMemcpyDefault`: the direction follows from the pointers.
const DEFAULT: c_int = 4;

/// CUDA's runtime library.
#[derive(Debug)]
pub(crate) struct Cudart(Library);

impl Cudart {
    /// Loads the library.
    ///
    /// # Errors
    /// The library is missing, or this is a build without feature `cuda`.
    pub(crate) fn load() -> Result<&'static Self, String> {
        if cfg!(not(feature = "cuda")) {
            return Err(WITHOUT_CUDA.to_owned());
        }
        static LOADED: OnceLock<Result<Cudart, String>> = OnceLock::new();
        let load = || {
            // SAFETY: loading NVIDIA's library runs its initialisers alone, as the CUDA provider does.
            let library = unsafe { Library::new(NAME) };
            library.map(Self).map_err(|e| format!("{NAME}: {e}"))
        };
        LOADED.get_or_init(load).as_ref().map_err(String::clone)
    }

    /// Copies a tensor into another one of the same shape and type. One of them is on the device, or both are in pinned
    /// memory. Returns when the copy is complete.
    ///
    /// # Errors
    /// The shapes differ, or CUDA reports an error.
    pub(crate) fn copy<T: PrimitiveTensorElementType + Debug>(
        &self,
        device: i32,
        from: &Tensor<T>,
        to: &mut Tensor<T>,
    ) -> ort::Result<()> {
        type SetDevice = unsafe extern "C" fn(c_int) -> c_int;
        type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> c_int;
        if from.shape() != to.shape() {
            return Err(ort::Error::new("tensors of different shapes"));
        }
        let bytes = from.shape().num_elements() * size_of::<T>();
        // SAFETY: the signatures are those of CUDA 13's headers; both tensors are of `bytes` bytes, are borrowed until the
        // call returns, and do not overlap, as one is borrowed mutably.
        let status = unsafe {
            let set_device = self.0.get::<SetDevice>(b"cudaSetDevice\0");
            let memcpy = self.0.get::<Memcpy>(b"cudaMemcpy\0");
            let missing = |e| ort::Error::new(format!("{NAME}: {e}"));
            let (set_device, memcpy) = (set_device.map_err(missing)?, memcpy.map_err(missing)?);
            match set_device(device) {
                0 => memcpy(
                    to.data_ptr_mut().cast(),
                    from.data_ptr().cast(),
                    bytes,
                    DEFAULT,
                ),
                failed => failed,
            }
        };
        match status {
            0 => Ok(()),
            code => Err(ort::Error::new(format!("CUDA error {code} in a copy"))),
        }
    }

    /// The number of devices.
    ///
    /// # Errors
    /// There is no driver, or no device.
    pub(crate) fn devices(&self) -> Result<i32, String> {
        type GetDeviceCount = unsafe extern "C" fn(*mut c_int) -> c_int;
        let mut count = 0;
        // SAFETY: the signature is that of CUDA 13's header; `count` outlives the call.
        let status = unsafe {
            let get_count = self.0.get::<GetDeviceCount>(b"cudaGetDeviceCount\0");
            get_count.map_err(|e| format!("{NAME}: {e}"))?(&raw mut count)
        };
        match status {
            0 => Ok(count),
            code => Err(format!("CUDA error {code}: no device can be used")),
        }
    }

    /// Free and total bytes of a device.
    ///
    /// # Errors
    /// The device does not exist, or CUDA reports an error.
    pub(crate) fn memory(&self, device: i32) -> Result<(usize, usize), String> {
        type SetDevice = unsafe extern "C" fn(c_int) -> c_int;
        type MemGetInfo = unsafe extern "C" fn(*mut usize, *mut usize) -> c_int;
        let (mut free, mut total) = (0, 0);
        let missing = |e| format!("{NAME}: {e}");
        // SAFETY: the signatures are those of CUDA 13's headers; `free` and `total` outlive the call.
        let status = unsafe {
            let set_device = self.0.get::<SetDevice>(b"cudaSetDevice\0");
            let get_info = self.0.get::<MemGetInfo>(b"cudaMemGetInfo\0");
            let (set_device, get_info) = (set_device.map_err(missing)?, get_info.map_err(missing)?);
            match set_device(device) {
                0 => get_info(&raw mut free, &raw mut total),
                failed => failed,
            }
        };
        match status {
            0 => Ok((free, total)),
            code => Err(format!(
                "CUDA error {code}: the memory of GPU {device} is not known"
            )),
        }
    }
}
