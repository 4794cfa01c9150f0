//! The guest's memory, and where drivers get theirs from.

use std::cell::RefCell;
use std::fs::File;
use std::ptr::NonNull;
use std::rc::Rc;

use devices::virtio::GuestMemory;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend};

/// Where memory begins: not at zero, so that no kind of address passes for another.
pub(super) const START: u64 = 0x1000_0000;
/// How much there is.
pub(super) const BYTES: usize = 32 << 20;

thread_local! {
    /// A test is one guest, and a thread.
    static ARENA: RefCell<Option<Rc<Arena>>> = const { RefCell::new(None) };
}

struct Arena {
    memory: GuestMemory,
    /// Which pages are taken.
    taken: RefCell<Vec<bool>>,
}

/// Fresh memory for the guest of this thread, all of it free.
pub(super) fn open() -> GuestMemory {
    let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
    ftruncate(&file, BYTES as u64).unwrap();
    let range = (GuestAddress(START), BYTES, Some(FileOffset::new(file, 0)));
    let memory = GuestMemory::from_ranges_with_files([range]).unwrap();
    let arena = Arena {
        memory: memory.clone(),
        taken: RefCell::new(vec![false; BYTES / PAGE_SIZE]),
    };
    ARENA.set(Some(Rc::new(arena)));
    memory
}

fn arena() -> Rc<Arena> {
    ARENA.with_borrow(|arena| Rc::clone(arena.as_ref().expect("a guest was started")))
}

/// Pages of zeros, as the device sees them.
pub(super) fn take(pages: usize) -> u64 {
    let arena = arena();
    let mut taken = arena.taken.borrow_mut();
    let mut runs = taken.windows(pages);
    let first = runs.position(|run| run.iter().all(|taken| !taken));
    let first = first.expect("memory is large enough");
    taken[first..first + pages].fill(true);
    let at = START + (first * PAGE_SIZE) as u64;
    let zeros = vec![0; pages * PAGE_SIZE];
    arena.memory.write_slice(&zeros, GuestAddress(at)).unwrap();
    at
}

fn free(at: u64, pages: usize) {
    let first = usize::try_from(at - START).unwrap() / PAGE_SIZE;
    arena().taken.borrow_mut()[first..first + pages].fill(false);
}

/// What the drivers have of their machine. Buffers are copied to pages of their own: a driver that
/// touches one while the device has it, or does not give it back, sees that.
#[derive(Debug)]
pub(super) struct Memory;

// SAFETY: pages come from a mapping that lives as long as the thread's arena, and none is handed out twice
// before it was given back; they are zeroed by `take`.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let at = take(pages);
        let host = arena().memory.get_host_address(GuestAddress(at)).unwrap();
        (at, NonNull::new(host).unwrap())
    }

    unsafe fn dma_dealloc(at: PhysAddr, _host: NonNull<u8>, pages: usize) -> i32 {
        free(at, pages);
        0
    }

    unsafe fn mmio_phys_to_virt(_at: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("for PCI only")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let at = take(buffer.len().div_ceil(PAGE_SIZE));
        if direction == BufferDirection::DeviceToDriver {
            // What the device does not write is not zero.
            let stale = vec![0xa5; buffer.len()];
            arena()
                .memory
                .write_slice(&stale, GuestAddress(at))
                .unwrap();
        } else {
            // SAFETY: the caller says that the buffer is valid, and nobody else touches it.
            let bytes = unsafe { buffer.as_ref() };
            arena().memory.write_slice(bytes, GuestAddress(at)).unwrap();
        }
        at
    }

    unsafe fn unshare(at: PhysAddr, mut buffer: NonNull<[u8]>, direction: BufferDirection) {
        if direction != BufferDirection::DriverToDevice {
            // SAFETY: as for `share`.
            let bytes = unsafe { buffer.as_mut() };
            arena().memory.read_slice(bytes, GuestAddress(at)).unwrap();
        }
        free(at, buffer.len().div_ceil(PAGE_SIZE));
    }
}
