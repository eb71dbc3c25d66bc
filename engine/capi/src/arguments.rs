//! Reading what comes from the other side, and writing there.
//!
//! A pointer that is NULL or not aligned is refused. Any other is trusted to be what the header says.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::slice;
use std::time::Duration;

use crate::status::Failure;

/// The longest that calls wait when they are told this many nanoseconds: for ever.
pub const LATCHLESS_FOREVER: u64 = u64::MAX;

/// Nanoseconds, `LATCHLESS_FOREVER` included.
pub(crate) fn duration(nanoseconds: u64) -> Duration {
    if nanoseconds == LATCHLESS_FOREVER { Duration::MAX } else { Duration::from_nanos(nanoseconds) }
}

/// A duration for the other side, which has no number beyond five centuries.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// Where a result goes.
///
/// # Safety
/// A pointer that is not null and is aligned is good for writing a `T`, for as long as the result lives.
pub(crate) unsafe fn out<'a, T>(
    pointer: *mut T,
    name: &'static str,
) -> Result<&'a mut MaybeUninit<T>, Failure> {
    check(pointer, name)?;
    // SAFETY: the caller's promise; nothing is read, so that it need not be initialised.
    Ok(unsafe { &mut *pointer.cast() })
}

/// A value.
///
/// # Safety
/// A pointer that is not null and is aligned points to a `T`.
pub(crate) unsafe fn value<T: Copy>(pointer: *const T, name: &'static str) -> Result<T, Failure> {
    check(pointer, name)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { pointer.read() })
}

/// A list; a null pointer is good for none.
///
/// # Safety
/// A pointer that is not null and is aligned points to `count` of `T`, which nobody changes meanwhile.
pub(crate) unsafe fn list<'a, T>(
    pointer: *const T,
    count: usize,
    name: &'static str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check_count::<T>(count, name)?;
    check(pointer, name)?;
    // SAFETY: the caller's promise, and no more bytes than a slice may have.
    Ok(unsafe { slice::from_raw_parts(pointer, count) })
}

/// Where a list goes; a null pointer is good for none.
///
/// # Safety
/// A pointer that is not null and is aligned is good for writing `count` of `T`.
pub(crate) unsafe fn out_list<'a, T>(
    pointer: *mut T,
    count: usize,
    name: &'static str,
) -> Result<&'a mut [MaybeUninit<T>], Failure> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_count::<T>(count, name)?;
    check(pointer, name)?;
    // SAFETY: the caller's promise, and no more bytes than a slice may have.
    Ok(unsafe { slice::from_raw_parts_mut(pointer.cast(), count) })
}

/// A text.
///
/// # Safety
/// A pointer that is not null points to a text that ends with a NUL, and that nobody changes meanwhile.
pub(crate) unsafe fn text<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<&'a str, Failure> {
    check(pointer, name)?;
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Failure::NotUtf8(name))
}

/// A text that may be left out.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { text(pointer, name) }.map(Some)
}

/// A struct that begins with its own size, so that it can grow at its end.
///
/// # Safety
/// `repr(C)`, and the first field is `size: usize`. Bytes of a caller's, at least `FIRST` and up to the end
/// of a field, followed by those of `DEFAULT`, are a value: its fields are numbers and pointers.
pub(crate) unsafe trait Options: Copy {
    const NAME: &'static str;
    /// The size that it had when the ABI was new.
    const FIRST: usize;
    /// All there is, and the whole size.
    const DEFAULT: Self;
}

/// What the caller set; what its header did not know is as in the default. NULL means the default.
///
/// # Safety
/// A pointer that is not null and is aligned points to a struct of the size that it says.
pub(crate) unsafe fn options<T: Options>(pointer: *const T) -> Result<T, Failure> {
    if pointer.is_null() {
        return Ok(T::DEFAULT);
    }
    check(pointer, T::NAME)?;
    // SAFETY: the struct begins with its size, whatever else it has.
    let size = unsafe { pointer.cast::<usize>().read() };
    check_size::<T>(size)?;
    let mut value = MaybeUninit::new(T::DEFAULT);
    let from = pointer.cast::<u8>();
    // SAFETY: the caller has `size` bytes there, and ours has no fewer.
    unsafe { from.copy_to_nonoverlapping(value.as_mut_ptr().cast(), size) };
    // SAFETY: what was copied and what was left make a value, says the trait.
    Ok(unsafe { value.assume_init() })
}

/// Writes the default, as far as the caller's header knows the struct.
///
/// # Safety
/// A pointer that is not null and is aligned is good for writing `size` bytes.
pub(crate) unsafe fn init<T: Options>(pointer: *mut T, size: usize) -> Result<(), Failure> {
    check(pointer, T::NAME)?;
    check_size::<T>(size)?;
    let default = T::DEFAULT;
    let from = (&raw const default).cast::<u8>();
    // SAFETY: the caller has `size` bytes there, and ours has no fewer.
    unsafe { from.copy_to_nonoverlapping(pointer.cast(), size) };
    // SAFETY: the size is the first field, and `size` bytes are more than that.
    unsafe { pointer.cast::<usize>().write(size) };
    Ok(())
}

fn check_size<T: Options>(size: usize) -> Result<(), Failure> {
    let (first, known) = (T::FIRST, size_of::<T>());
    if (first..=known).contains(&size) {
        return Ok(());
    }
    Err(Failure::StructSize { what: T::NAME, size, first, known })
}

fn check<T>(pointer: *const T, name: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        Err(Failure::NullPointer(name))
    } else if !pointer.is_aligned() {
        Err(Failure::Argument(
            "a pointer is not aligned for its type; pass the address of the thing itself",
        ))
    } else {
        Ok(())
    }
}

/// A list that no memory can hold is a mistake in its length.
fn check_count<T>(count: usize, name: &'static str) -> Result<(), Failure> {
    let most = isize::MAX as usize / size_of::<T>().max(1);
    if count > most {
        let value = count as u64;
        return Err(Failure::Value { what: name, value, allowed: "as many as the list has" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it was, and as it is in a library that came later.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Before {
        size: usize,
        old: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Now {
        size: usize,
        old: u64,
        new: u64,
    }

    // SAFETY: it begins with its size, and all else are numbers.
    unsafe impl Options for Now {
        const NAME: &'static str = "now";
        const FIRST: usize = size_of::<Before>();
        const DEFAULT: Self = Self { size: size_of::<Self>(), old: 1, new: 2 };
    }

    #[test]
    fn a_struct_of_an_older_header_is_completed() {
        let mut before = Before { size: 0, old: 0 };
        let pointer = (&raw mut before).cast::<Now>();
        // SAFETY: both are told the size that is there.
        let result = unsafe { init(pointer, size_of::<Before>()) };
        assert!(result.is_ok());
        assert_eq!((before.size, before.old), (size_of::<Before>(), 1));
        before.old = 7;
        // SAFETY: it says its size.
        let now = unsafe { options((&raw const before).cast::<Now>()) }.unwrap();
        assert_eq!((now.old, now.new), (7, 2));
    }

    #[test]
    fn a_size_that_no_header_had_is_refused() {
        for size in [0, 8, size_of::<Now>() + 1, usize::MAX] {
            let garbage = Now { size, ..Now::DEFAULT };
            // SAFETY: there is a whole struct there, and a wrong size is refused before it is believed.
            let result = unsafe { options(&raw const garbage) };
            assert!(matches!(result, Err(Failure::StructSize { .. })), "{size}");
        }
    }

    #[test]
    fn pointers_that_cannot_be_are_refused() {
        let number = 7_u64;
        let odd = (&raw const number).map_addr(|address| address + 1);
        // SAFETY: a pointer that is null is not read.
        let null = unsafe { value::<u64>(std::ptr::null(), "it") };
        // SAFETY: one that is not aligned is not read, either.
        let odd = unsafe { value(odd, "it") };
        assert!(matches!(null, Err(Failure::NullPointer("it"))));
        assert!(matches!(odd, Err(Failure::Argument(_))));
        // SAFETY: no memory holds a list of that length: it is refused by that.
        let endless = unsafe { list(&raw const number, usize::MAX, "it") };
        assert!(matches!(endless, Err(Failure::Value { .. })));
        // SAFETY: a list of nothing is not read.
        assert!(unsafe { list::<u64>(std::ptr::null(), 0, "it") }.unwrap().is_empty());
    }
}
