//! The tensors of an operator's call.

use ort::operator::ComputeContext;
use ort::value::{DynValueTypeMarker, PrimitiveTensorElementType, ValueRef};

/// The inputs of an operator's call.
pub(super) struct Inputs<'a>(Vec<Option<ValueRef<'a, DynValueTypeMarker>>>);

impl<'a> Inputs<'a> {
    /// The first inputs, of which some may be left out.
    pub(super) fn of(context: &'a ComputeContext, count: usize) -> ort::Result<Self> {
        let inputs = (0..count).map(|number| context.input(number));
        inputs.collect::<ort::Result<_>>().map(Self)
    }

    /// The values of an input that may be left out.
    pub(super) fn optional<T: PrimitiveTensorElementType>(
        &self,
        number: usize,
    ) -> ort::Result<Option<&[T]>> {
        let value = self.0[number].as_ref();
        value.map(|v| Ok(v.try_extract_tensor()?.1)).transpose()
    }

    /// The values of an input.
    pub(super) fn tensor<T: PrimitiveTensorElementType>(&self, number: usize) -> ort::Result<&[T]> {
        self.optional(number)?.ok_or_else(missing)
    }

    /// The shape of an input; empty if it is left out.
    pub(super) fn shape(&self, number: usize) -> Vec<i64> {
        let value = self.0[number].as_ref();
        value.map_or_else(Vec::new, |v| v.shape().to_vec())
    }

    /// One dimension of an input; 0 if there is none.
    pub(super) fn dimension(&self, number: usize, axis: usize) -> usize {
        let size = self.shape(number).get(axis).copied().unwrap_or_default();
        usize::try_from(size).unwrap_or_default()
    }
}

/// The error for a tensor that an operator needs.
pub(super) fn missing() -> ort::Error {
    ort::Error::new("an operator of lexivec lacks an input or output")
}
